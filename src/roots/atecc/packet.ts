import { crc16 } from "../../bytes/crc16.ts";
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";

/** First byte of every write to the chip (ATECC508A, "I/O Groups", word address). */
export const WORD_ADDRESS = { resetPointer: 0x00, sleep: 0x01, idle: 0x02, command: 0x03 } as const;

/** Statuses the chip answers with (ATECC508A, "Status/Error Codes"). */
export const STATUS = {
  ok: 0x00,
  miscompare: 0x01,
  parse: 0x03,
  eccFault: 0x05,
  selfTest: 0x07,
  rngHealth: 0x08,
  execution: 0x0f,
  awake: 0x11,
  watchdog: 0xee,
  communication: 0xff,
} as const;

/** What goes over the bus: one command of the data sheet with its parameters. */
export interface Request {
  readonly opcode: number;
  readonly param1: number;
  readonly param2: number;
  readonly data: Uint8Array;
}

/**
 * @param request `data` 0 to 144 bytes
 * @returns the whole write transaction: word address, count, opcode, parameters, data, CRC
 */
export function encodeRequest({ opcode, param1, param2, data }: Request): Uint8Array {
  const packet = new Writer(data.length + 8)
    .u8(WORD_ADDRESS.command)
    .u8(data.length + 7)
    .u8(opcode)
    .u8(param1)
    .u16le(param2)
    .put(data);
  return packet.u16le(crc16(packet.done().subarray(1))).done();
}

/** Bytes around the payload of an answer: count in front, CRC behind. */
export const ANSWER_FRAME = 3;

/**
 * @param bytes what one read transaction gave; an answer shorter than the read is followed by anything
 * @returns the payload (a single byte is a status), or undefined when count or CRC do not fit
 */
export function decodeAnswer(bytes: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(bytes);
  if (reader.remaining < 1) return undefined;
  const count = reader.u8();
  if (count < ANSWER_FRAME + 1 || count > bytes.length) return undefined;
  const payload = reader.take(count - ANSWER_FRAME);
  return reader.u16le() === crc16(bytes.subarray(0, count - 2)) ? payload : undefined;
}
