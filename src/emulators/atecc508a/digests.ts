import { createHash, createHmac } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { serialNumber } from "./config.ts";
import type { Memory } from "./memory.ts";
import type { Packet } from "./packet.ts";

/** Every digest of the chip is SHA-256 over parts. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

export function zeros(length: number): Uint8Array {
  return new Uint8Array(length);
}

/** opcode ‖ param1 ‖ param2 (LE), as most messages name the command they belong to. */
export function header({ opcode, param1, param2 }: Packet): Uint8Array {
  return Uint8Array.of(opcode, param1, param2 & 0xff, param2 >> 8);
}

/** SN[8] ‖ SN[0:1], the part of the serial number that no message goes without. */
export function snx(memory: Memory): Uint8Array {
  const sn = serialNumber(memory);
  return concat(sn.subarray(8, 9), sn.subarray(0, 2));
}

/**
 * What MAC and HMAC include besides their header, 20 bytes: A(11) ‖ SN[8] ‖ B(4) ‖ SN[0:1] ‖ C(2), where
 * mode b4 or b5 fill A from the OTP zone, and mode b6 fills B and C from the serial number.
 */
export function included(memory: Memory, mode: number): Uint8Array {
  const sn = serialNumber(memory);
  const a = new Uint8Array(11);
  if (mode & 0x10) a.set(memory.otp.subarray(0, 11));
  else if (mode & 0x20) a.set(memory.otp.subarray(0, 8));
  const wholeSerial = (mode & 0x40) !== 0;
  return concat(
    a,
    sn.subarray(8, 9),
    wholeSerial ? sn.subarray(4, 8) : zeros(4),
    sn.subarray(0, 2),
    wholeSerial ? sn.subarray(2, 4) : zeros(2),
  );
}

/**
 * The form of most digests: first block ‖ 4 bytes that say what for ‖ SNx ‖ fill ‖ last block.
 *
 * @param fill GenDig, DeriveKey, GenKey and Write have 25 bytes here, PrivWrite 21
 */
export function keyedDigest(
  memory: Memory,
  first: Uint8Array,
  purpose: Uint8Array,
  fill: Uint8Array,
  last: Uint8Array,
): Uint8Array {
  return sha256(first, purpose, snx(memory), fill, last);
}

/** MAC and HMAC: 32 + 32 + 4 + 20 bytes; the first 32 of MAC are the key. */
export function macMessage(memory: Memory, packet: Packet, second: Uint8Array): readonly Uint8Array[] {
  return [second, header(packet), included(memory, packet.param1)];
}

/** @param other OtherData, 13 bytes */
export function checkMacDigest(
  memory: Memory,
  mode: number,
  first: Uint8Array,
  second: Uint8Array,
  other: Uint8Array,
): Uint8Array {
  const sn = serialNumber(memory);
  return sha256(
    first,
    second,
    other.subarray(0, 4),
    mode & 0x20 ? memory.otp.subarray(0, 8) : zeros(8),
    other.subarray(4, 7),
    sn.subarray(8, 9),
    other.subarray(7, 11),
    sn.subarray(0, 2),
    other.subarray(11, 13),
  );
}

/**
 * What the signature in Verify (validate, invalidate) covers: the message of Sign (internal) with its 19 variable
 * bytes taken from OtherData.
 */
export function validationDigest(memory: Memory, tempKey: Uint8Array, other: Uint8Array): Uint8Array {
  const sn = serialNumber(memory);
  return sha256(
    tempKey,
    Uint8Array.of(0x41),
    other.subarray(0, 10),
    sn.subarray(8, 9),
    other.subarray(10, 14),
    sn.subarray(0, 2),
    other.subarray(14, 19),
  );
}
