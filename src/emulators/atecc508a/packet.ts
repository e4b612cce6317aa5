import { crc16 } from "../../bytes/crc16.ts";

/** A command as it came over the bus; its parameters are not checked yet. */
export interface Packet {
  readonly opcode: number;
  readonly param1: number;
  readonly param2: number;
  readonly data: Uint8Array;
}

const SHORTEST = 7;

/**
 * @param bytes count ‖ opcode ‖ param1 ‖ param2 (LE) ‖ data ‖ CRC
 * @returns undefined when the length or the CRC is wrong
 */
export function parsePacket(bytes: Uint8Array): Packet | undefined {
  const [count, opcode = 0, param1 = 0, low = 0, high = 0] = bytes;
  const end = bytes.length - 2;
  if (count !== bytes.length || count < SHORTEST) return undefined;
  const crc = (bytes[end] ?? 0) | ((bytes[end + 1] ?? 0) << 8);
  if (crc !== crc16(bytes.subarray(0, end))) return undefined;
  return { opcode, param1, param2: low | (high << 8), data: bytes.subarray(5, end) };
}

/** @returns count ‖ payload ‖ CRC */
export function response(payload: Uint8Array | number): Uint8Array {
  const length = typeof payload === "number" ? 1 : payload.length;
  const bytes = new Uint8Array(length + 3);
  bytes[0] = bytes.length;
  if (typeof payload === "number") bytes[1] = payload;
  else bytes.set(payload, 1);
  const crc = crc16(bytes.subarray(0, length + 1));
  bytes[length + 1] = crc & 0xff;
  bytes[length + 2] = crc >> 8;
  return bytes;
}
