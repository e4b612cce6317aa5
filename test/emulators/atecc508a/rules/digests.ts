import { createHash, createHmac } from "node:crypto";
import { concat } from "../../../../src/bytes/bytes.ts";
import type { Device } from "./device.ts";

/** The digests of the data sheet, from its formulas alone. Numbers are least significant byte first. */

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
}

export const zeros = (length: number): Uint8Array => new Uint8Array(length);
export const u8 = (...bytes: readonly number[]): Uint8Array => Uint8Array.from(bytes);
export const u16 = (value: number): Uint8Array => u8(value & 0xff, value >> 8);

/** SN[from] to SN[to], both included; SN[4:8] are kept apart from SN[0:3] in the config zone. */
export function serial(device: Device, from: number, to: number): Uint8Array {
  const whole = concat(device.config.subarray(0, 4), device.config.subarray(8, 13));
  return whole.slice(from, to + 1);
}

/** SNx: SN[8], SN[0:1]. */
export const serialShort = (device: Device): Uint8Array => concat(serial(device, 8, 8), serial(device, 0, 1));

/** The 20 bytes that MAC and HMAC include by mode bits 4, 5 and 6. */
export function included(device: Device, mode: number): Uint8Array {
  const otp =
    mode & 0x10 ? device.otp.slice(0, 11) : mode & 0x20 ? concat(device.otp.slice(0, 8), zeros(3)) : zeros(11);
  const wholeSerial = (mode & 0x40) !== 0;
  return concat(
    otp,
    serial(device, 8, 8),
    wholeSerial ? serial(device, 4, 7) : zeros(4),
    serial(device, 0, 1),
    wholeSerial ? serial(device, 2, 3) : zeros(2),
  );
}

export function macDigest(device: Device, mode: number, param2: number, first: Uint8Array, second: Uint8Array) {
  return sha256(first, second, u8(0x08, mode), u16(param2), included(device, mode));
}

export function hmacDigest(device: Device, mode: number, param2: number, key: Uint8Array, tempKey: Uint8Array) {
  return hmacSha256(key, zeros(32), tempKey, u8(0x11, mode), u16(param2), included(device, mode));
}

export function checkMacDigest(
  device: Device,
  mode: number,
  first: Uint8Array,
  second: Uint8Array,
  other: Uint8Array,
): Uint8Array {
  return sha256(
    first,
    second,
    other.subarray(0, 4),
    mode & 0x20 ? device.otp.subarray(0, 8) : zeros(8),
    other.subarray(4, 7),
    serial(device, 8, 8),
    other.subarray(7, 11),
    serial(device, 0, 1),
    other.subarray(11, 13),
  );
}

/** V ‖ four bytes of header ‖ SNx ‖ 25 bytes ‖ tail: GenDig and DeriveKey. */
export function digest96(
  device: Device,
  value: Uint8Array,
  header: Uint8Array,
  tail: Uint8Array,
  filler: Uint8Array = zeros(25),
): Uint8Array {
  return sha256(value, header, serialShort(device), filler, tail);
}

export function deriveKeyMac(device: Device, parent: Uint8Array, mode: number, target: number): Uint8Array {
  return sha256(parent, u8(0x1c, mode), u16(target), serialShort(device));
}

export function writeMac(device: Device, tempKey: Uint8Array, zone: number, address: number, plain: Uint8Array) {
  return sha256(tempKey, u8(0x12, zone), u16(address), serialShort(device), zeros(25), plain);
}

export function privWriteMac(device: Device, tempKey: Uint8Array, zone: number, slot: number, plain: Uint8Array) {
  return sha256(tempKey, u8(0x46, zone), u16(slot), serialShort(device), zeros(21), plain);
}

/** Key stream of PrivWrite: TempKey, then the start of its hash. */
export const privWriteStream = (tempKey: Uint8Array): Uint8Array => concat(tempKey, sha256(tempKey).subarray(0, 4));

export function publicKeyDigest(device: Device, tempKey: Uint8Array, header: Uint8Array, publicKey: Uint8Array) {
  return sha256(tempKey, header, serialShort(device), zeros(25), publicKey);
}
