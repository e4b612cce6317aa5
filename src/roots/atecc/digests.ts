/**
 * What the chip hashes, computed on the host: to check its answers, and to share secrets with it.
 *
 * Source: ATECC508A complete data sheet, the message table of each command. Byte ranges are inclusive, as there.
 */
import { createHash, createHmac } from "node:crypto";
import { concat, xor } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";
import { COMMANDS } from "./times.ts";

const OPCODE = {
  MAC: COMMANDS.MAC.opcode,
  HMAC: COMMANDS.HMAC.opcode,
  GenDig: COMMANDS.GenDig.opcode,
  Nonce: COMMANDS.Nonce.opcode,
  DeriveKey: COMMANDS.DeriveKey.opcode,
  GenKey: COMMANDS.GenKey.opcode,
  PrivWrite: COMMANDS.PrivWrite.opcode,
  Sign: COMMANDS.Sign.opcode,
  Write: COMMANDS.Write.opcode,
} as const;

/** SHA-256 of the parts in order. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** opcode, mode, param2: how most messages go on after their first part. */
function header(opcode: number, mode: number, param2: number): Uint8Array {
  return new Writer(4).u8(opcode).u8(mode).u16le(param2).done();
}

/** SN[8] and SN[0:1]: the part of the serial number every message carries. */
function shortSerial(serial: Uint8Array): Uint8Array {
  return concat(serial.subarray(8, 9), serial.subarray(0, 2));
}

const zeros = (length: number) => new Uint8Array(length);

/** TempKey after a random Nonce. @param random 32 bytes, what the chip answered. @param input 20 bytes */
export function nonceTempKey(random: Uint8Array, input: Uint8Array, mode: number): Uint8Array {
  return sha256(random, input, Uint8Array.of(OPCODE.Nonce, mode, 0));
}

/** TempKey after GenDig of a data slot. @param secret first 32 bytes of the slot. @param tempKey 32 bytes */
export function genDigSlot(secret: Uint8Array, slot: number, serial: Uint8Array, tempKey: Uint8Array): Uint8Array {
  return sha256(secret, header(OPCODE.GenDig, 2, slot), shortSerial(serial), zeros(25), tempKey);
}

/** TempKey after GenKey with digest. @param publicKey 64 bytes */
export function genKeyDigest(
  publicKey: Uint8Array,
  mode: number,
  slot: number,
  serial: Uint8Array,
  tempKey: Uint8Array,
): Uint8Array {
  return sha256(tempKey, header(OPCODE.GenKey, mode, slot), shortSerial(serial), zeros(25), publicKey);
}

/** The 20 bytes at the end of MAC and HMAC messages. @param otp 64 bytes */
function included(mode: number, serial: Uint8Array, otp: Uint8Array): Uint8Array {
  const all = (mode & 0x40) !== 0;
  return concat(
    mode & 0x10 ? otp.subarray(0, 11) : mode & 0x20 ? concat(otp.subarray(0, 8), zeros(3)) : zeros(11),
    serial.subarray(8, 9),
    all ? serial.subarray(4, 8) : zeros(4),
    serial.subarray(0, 2),
    all ? serial.subarray(2, 4) : zeros(2),
  );
}

/** What MAC answers. @param first 32 bytes: slot or TempKey. @param second 32 bytes: challenge or TempKey */
export function macOf(
  first: Uint8Array,
  second: Uint8Array,
  mode: number,
  slot: number,
  serial: Uint8Array,
  otp: Uint8Array = zeros(64),
): Uint8Array {
  return sha256(first, second, header(OPCODE.MAC, mode, slot), included(mode, serial, otp));
}

/** What HMAC answers (508A). @param key 32 bytes. @param tempKey 32 bytes */
export function hmacOf(
  key: Uint8Array,
  tempKey: Uint8Array,
  mode: number,
  slot: number,
  serial: Uint8Array,
  otp: Uint8Array = zeros(64),
): Uint8Array {
  const message = concat(zeros(32), tempKey, header(OPCODE.HMAC, mode, slot), included(mode, serial, otp));
  return new Uint8Array(createHmac("sha256", key).update(message).digest());
}

/** The response that CheckMac accepts. @param otherData 13 bytes. @param otp 64 bytes, mode b5 */
export function checkMacOf(
  first: Uint8Array,
  second: Uint8Array,
  mode: number,
  otherData: Uint8Array,
  serial: Uint8Array,
  otp: Uint8Array = zeros(64),
): Uint8Array {
  return sha256(
    first,
    second,
    otherData.subarray(0, 4),
    mode & 0x20 ? otp.subarray(0, 8) : zeros(8),
    otherData.subarray(4, 7),
    serial.subarray(8, 9),
    otherData.subarray(7, 11),
    serial.subarray(0, 2),
    otherData.subarray(11, 13),
  );
}

/** The key DeriveKey makes. @param parent 32 bytes */
export function derivedKey(
  parent: Uint8Array,
  mode: number,
  target: number,
  serial: Uint8Array,
  tempKey: Uint8Array,
): Uint8Array {
  return sha256(parent, header(OPCODE.DeriveKey, mode, target), shortSerial(serial), zeros(25), tempKey);
}

/** The MAC DeriveKey wants where WriteConfig asks for one. */
export function deriveKeyMac(parent: Uint8Array, mode: number, target: number, serial: Uint8Array): Uint8Array {
  return sha256(parent, header(OPCODE.DeriveKey, mode, target), shortSerial(serial));
}

/** An encrypted Write: what to send. @param plain 32 bytes. @param zone param1 as sent. @param address param2 as sent */
export function encryptedWrite(
  plain: Uint8Array,
  zone: number,
  address: number,
  serial: Uint8Array,
  tempKey: Uint8Array,
): { cipher: Uint8Array; mac: Uint8Array } {
  return {
    cipher: xor(plain, tempKey),
    mac: sha256(tempKey, header(OPCODE.Write, zone, address), shortSerial(serial), zeros(25), plain),
  };
}

/** An encrypted PrivWrite: what to send. @param scalar 32 bytes */
export function encryptedPrivWrite(
  scalar: Uint8Array,
  slot: number,
  serial: Uint8Array,
  tempKey: Uint8Array,
): { cipher: Uint8Array; mac: Uint8Array } {
  const plain = concat(zeros(4), scalar);
  const sent = {
    cipher: xor(plain, concat(tempKey, sha256(tempKey).subarray(0, 4))),
    mac: sha256(tempKey, header(OPCODE.PrivWrite, 0x40, slot), shortSerial(serial), zeros(21), plain),
  };
  plain.fill(0);
  return sent;
}

/** What Sign(internal) puts into its message beside TempKey. */
export interface InternalMessage {
  /** 32 bytes: TempKey when the chip signed */
  readonly tempKey: Uint8Array;
  /** param1 as sent: 0x40 includes the whole serial number */
  readonly mode: number;
  /** the slot that signed */
  readonly signer: number;
  /** of the slot TempKey.KeyID points to: 2 bytes each, as in the config zone */
  readonly slotConfig: Uint8Array;
  readonly keyConfig: Uint8Array;
  /** Info State byte 0 when the chip signed: KeyID and flags */
  readonly tempKeyFlags: number;
  readonly slotLocked: boolean;
  readonly publicKeyValid: boolean;
  /** 9 bytes */
  readonly serial: Uint8Array;
}

/** @returns the 55 bytes whose SHA-256 Sign(internal) signs */
export function internalMessage(parts: InternalMessage): Uint8Array {
  const { serial } = parts;
  const all = (parts.mode & 0x40) !== 0;
  return concat(
    parts.tempKey,
    header(OPCODE.Sign, parts.mode, parts.signer),
    parts.slotConfig,
    parts.keyConfig,
    Uint8Array.of(parts.tempKeyFlags, 0, 0),
    serial.subarray(8, 9),
    all ? serial.subarray(4, 8) : zeros(4),
    serial.subarray(0, 2),
    all ? serial.subarray(2, 4) : zeros(2),
    Uint8Array.of(parts.slotLocked ? 0 : 1, parts.publicKeyValid ? 1 : 0, 0),
  );
}
