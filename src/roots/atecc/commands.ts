/**
 * The commands of the ATECC508A, and what the ATECC608 adds, each named as in the data sheet. A function makes a
 * {@link Command}; `chip.run(...)` sends it. Lengths are in bytes and checked here, before anything reaches the bus.
 *
 * Errors of every command, raised by `run`: `ROOT_REFUSED` when the chip's state or configuration does not allow it,
 * `ROOT_UNAVAILABLE`, and for those that must not be repeated `OUTCOME_UNKNOWN`.
 *
 * Source: ATECC508A complete data sheet, "Security Commands"; for the 608 the published parameter tables of
 * Microchip's library.
 */
import { concat } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { acknowledged, answering, type Command, comparing, map } from "./command.ts";

/** Zones of Read and Write. */
export const ZONE = { config: 0, otp: 1, data: 2 } as const;
export type Zone = keyof typeof ZONE;

/** Param1 bits of Read and Write. */
const BLOCK = 0x80;
const ENCRYPTED = 0x40;

/** Mode bits that MAC, HMAC and (the low ones) CheckMac share. */
export interface MacMode {
  /** b0: the second 32 bytes are TempKey, not the challenge. */
  readonly secondFromTempKey?: boolean;
  /** b1: the first 32 bytes are TempKey, not the slot. */
  readonly firstFromTempKey?: boolean;
  /** b2: TempKey must have come from a fixed nonce. */
  readonly fixedNonce?: boolean;
  /** b4: OTP[0:10]. */
  readonly otp88?: boolean;
  /** b5: OTP[0:7]. */
  readonly otp64?: boolean;
  /** b6: the whole serial number. */
  readonly serial?: boolean;
}

/** @returns the mode byte of MAC, HMAC and CheckMac */
export function macMode(mode: MacMode): number {
  return (
    (mode.secondFromTempKey ? 0x01 : 0) |
    (mode.firstFromTempKey ? 0x02 : 0) |
    (mode.fixedNonce ? 0x04 : 0) |
    (mode.otp88 ? 0x10 : 0) |
    (mode.otp64 ? 0x20 : 0) |
    (mode.serial ? 0x40 : 0)
  );
}

/**
 * @param mode how TempKey, OTP and serial number take part
 * @param slot 0 to 15
 * @param challenge 32 bytes; must be absent when the second part is TempKey
 * @returns 32 bytes
 */
export function MAC(mode: MacMode, slot: number, challenge?: Uint8Array): Command<Uint8Array> {
  if (challenge !== undefined) exactly("challenge", challenge, 32);
  if ((challenge === undefined) !== (mode.secondFromTempKey ?? false)) {
    throw new RangeError("a challenge goes with a message part that is not TempKey");
  }
  return answering("MAC", 32, {
    param1: macMode(mode),
    param2: slotNumber(slot),
    ...(challenge && { data: challenge }),
  });
}

/** HMAC over TempKey (508A only). @returns 32 bytes */
export function HMAC(mode: Omit<MacMode, "secondFromTempKey" | "firstFromTempKey">, slot: number): Command<Uint8Array> {
  return answering("HMAC", 32, { param1: macMode(mode), param2: slotNumber(slot) });
}

/**
 * @param challenge 32 bytes, ignored when the second part is TempKey
 * @param response 32 bytes, what another chip's MAC answered
 * @param otherData 13 bytes
 * @returns whether the response fits
 */
export function CheckMac(
  mode: Omit<MacMode, "otp88" | "serial">,
  slot: number,
  challenge: Uint8Array,
  response: Uint8Array,
  otherData: Uint8Array,
): Command<boolean> {
  exactly("challenge", challenge, 32);
  exactly("response", response, 32);
  exactly("other data", otherData, 13);
  return comparing("CheckMac", {
    param1: macMode(mode),
    param2: slotNumber(slot),
    data: concat(challenge, response, otherData),
  });
}

/** @param counter 0 or 1. @returns 0 to 2097151 */
export function CounterRead(counter: 0 | 1): Command<number> {
  return map(answering("Counter", 4, { param1: 0, param2: counter }), u32le);
}

/** Not repeated when its answer is lost; `incrementCounter` of chip.ts finds out what happened. */
export function CounterIncrement(counter: 0 | 1): Command<number> {
  return map(answering("Counter", 4, { param1: 1, param2: counter, repeatable: false }), u32le);
}

/**
 * @param target slot that gets the new key
 * @param mac 32 bytes, where the slot's WriteConfig wants one
 */
export function DeriveKey(target: number, options: { fixedNonce?: boolean; mac?: Uint8Array } = {}): Command<void> {
  if (options.mac) exactly("MAC", options.mac, 32);
  return acknowledged("DeriveKey", {
    param1: options.fixedNonce ? 0x04 : 0,
    param2: slotNumber(target),
    ...(options.mac && { data: options.mac }),
    repeatable: false,
  });
}

/**
 * @param publicKey 64 bytes, X and Y
 * @returns the X coordinate, 32 bytes
 */
export function ECDH(slot: number, publicKey: Uint8Array): Command<Uint8Array> {
  exactly("public key", publicKey, 64);
  return answering("ECDH", 32, { param2: slotNumber(slot), data: publicKey });
}

/** ECDH of a slot whose configuration sends the result into the slot beside it (ReadKey bit 3). */
export function ECDHIntoSlot(slot: number, publicKey: Uint8Array): Command<void> {
  exactly("public key", publicKey, 64);
  return acknowledged("ECDH", { param2: slotNumber(slot), data: publicKey });
}

/**
 * @param zone 0 config block, 1 OTP block, 2 slot, 3 shared nonce, 4 counter, 5 key configuration
 * @param keyId block, slot or counter; for zone 3 all 16 bits
 * @param otherData 4 bytes for a NoMac slot, 32 for zone 3
 */
export function GenDig(zone: 0 | 1 | 2 | 3 | 4 | 5, keyId: number, otherData?: Uint8Array): Command<void> {
  if (otherData) exactly("other data", otherData, zone === 3 ? 32 : 4);
  return acknowledged("GenDig", { param1: zone, param2: keyId, ...(otherData && { data: otherData }) });
}

/** Makes a new private key in the slot. @returns its public key, 64 bytes, X and Y */
export function GenKeyCreate(slot: number): Command<Uint8Array> {
  return answering("GenKey", 64, { param1: 0x04, param2: slotNumber(slot) });
}

/** @returns the public key of the private key in the slot, 64 bytes */
export function GenKeyPublic(slot: number, options: { digest?: boolean } = {}): Command<Uint8Array> {
  return answering("GenKey", 64, { param1: options.digest ? 0x08 : 0x00, param2: slotNumber(slot) });
}

/** Digest of the public key stored in the slot, into TempKey. @param otherData 3 bytes */
export function GenKeyDigest(slot: number, otherData: Uint8Array): Command<void> {
  exactly("other data", otherData, 3);
  return acknowledged("GenKey", { param1: 0x10, param2: slotNumber(slot), data: otherData });
}

/** @returns 4 bytes, 508A: 00 00 50 00 */
export function InfoRevision(): Command<Uint8Array> {
  return answering("Info", 4, { param1: 0 });
}

export function InfoKeyValid(slot: number): Command<boolean> {
  return map(answering("Info", 4, { param1: 1, param2: slotNumber(slot) }), (payload) => payload.some((b) => b !== 0));
}

/** TempKey's flags and AuthComplete. */
export interface State {
  readonly keyId: number;
  readonly sourceFlag: 0 | 1;
  readonly genDigData: boolean;
  readonly genKeyData: boolean;
  readonly noMacFlag: boolean;
  readonly valid: boolean;
  readonly authKeyId: number;
  readonly authValid: boolean;
}

export function InfoState(): Command<State> {
  return map(answering("Info", 4, { param1: 2 }), (payload) => {
    const reader = new Reader(payload);
    const flags = reader.u8();
    const more = reader.u8();
    return {
      keyId: flags & 0x0f,
      sourceFlag: flags & 0x10 ? 1 : 0,
      genDigData: (flags & 0x20) !== 0,
      genKeyData: (flags & 0x40) !== 0,
      noMacFlag: (flags & 0x80) !== 0,
      valid: (more & 0x80) !== 0,
      authKeyId: (more >> 3) & 0x0f,
      authValid: (more & 0x04) !== 0,
    };
  });
}

/** @param summary CRC-16 of the config zone as it must be; undefined locks whatever is there. **Irreversible.** */
export function LockConfig(summary: number | undefined): Command<void> {
  return lock(0, summary);
}

/** @param summary CRC-16 of the slots and OTP as they must be; undefined locks whatever is there. **Irreversible.** */
export function LockData(summary: number | undefined): Command<void> {
  return lock(1, summary);
}

/** **Irreversible.** */
export function LockSlot(slot: number): Command<void> {
  return acknowledged("Lock", { param1: 0x02 | (slotNumber(slot) << 2), repeatable: false });
}

function lock(zone: number, summary: number | undefined): Command<void> {
  return acknowledged("Lock", {
    param1: zone | (summary === undefined ? 0x80 : 0),
    param2: summary ?? 0,
    repeatable: false,
  });
}

/** TempKey = digest of the chip's random number and the input. @param input 20 bytes. @returns 32 random bytes */
export function NonceRandom(input: Uint8Array, options: { updateSeed?: boolean } = {}): Command<Uint8Array> {
  exactly("nonce input", input, 20);
  return answering("Nonce", 32, { param1: options.updateSeed === false ? 1 : 0, data: input });
}

/** Where the 608 puts a fixed nonce. */
export const NONCE_TARGET = { tempKey: 0x00, messageDigestBuffer: 0x40, alternateKeyBuffer: 0x80 } as const;

/** @param value 32 bytes; 64 on the 608. @param target 608 only */
export function NonceFixed(value: Uint8Array, target: keyof typeof NONCE_TARGET = "tempKey"): Command<void> {
  if (value.length !== 64) exactly("nonce", value, 32);
  return acknowledged("Nonce", {
    param1: 0x03 | (value.length === 64 ? 0x20 : 0) | NONCE_TARGET[target],
    data: value,
  });
}

/** The chip goes idle unless its Selector is this one (508A only, several chips on one single-wire bus). */
export function Pause(selector: number): Command<void> {
  return { ...acknowledged("Pause", { param1: selector, repeatable: false }), answer: 0 };
}

/**
 * @param key 36 bytes: four zeros and the scalar, encrypted or not
 * @param mac 32 bytes, zeros for a clear write
 */
export function PrivWrite(slot: number, key: Uint8Array, mac: Uint8Array | undefined): Command<void> {
  exactly("private key", key, 36);
  if (mac) exactly("MAC", mac, 32);
  return acknowledged("PrivWrite", {
    param1: mac ? ENCRYPTED : 0,
    param2: slotNumber(slot),
    data: concat(key, mac ?? new Uint8Array(32)),
  });
}

/** @returns 32 bytes */
export function Random(options: { updateSeed?: boolean } = {}): Command<Uint8Array> {
  return answering("Random", 32, { param1: options.updateSeed === false ? 1 : 0 });
}

/**
 * @param block 32-byte block: of the config zone 0 to 3, of OTP 0 to 1
 * @param word 4-byte word in the block
 * @returns 4 bytes
 */
export function ReadWord(zone: "config" | "otp", block: number, word: number): Command<Uint8Array> {
  return answering("Read", 4, { param1: ZONE[zone], param2: (block << 3) | word });
}

/** @returns 32 bytes */
export function ReadBlock(zone: "config" | "otp", block: number): Command<Uint8Array> {
  return answering("Read", 32, { param1: ZONE[zone] | BLOCK, param2: block << 3 });
}

/** @returns 4 bytes of a slot */
export function ReadSlotWord(slot: number, block: number, word: number): Command<Uint8Array> {
  return answering("Read", 4, { param1: ZONE.data, param2: slotAddress(slot, block, word) });
}

/** @returns 32 bytes of a slot; encrypted with TempKey where the slot's configuration says so */
export function ReadSlotBlock(slot: number, block: number): Command<Uint8Array> {
  return answering("Read", 32, { param1: ZONE.data | BLOCK, param2: slotAddress(slot, block, 0) });
}

/** @param bytes 4 or 32 */
export function Write(zone: "config" | "otp", block: number, word: number, bytes: Uint8Array): Command<void> {
  return write(ZONE[zone], (block << 3) | word, bytes, undefined);
}

/**
 * @param bytes 4 or 32; encrypted when there is a MAC
 * @param mac 32 bytes, only with 32 bytes
 * @param options `unlocked`: the data zone is not locked yet, and the write is encrypted all the same
 */
export function WriteSlot(
  slot: number,
  block: number,
  word: number,
  bytes: Uint8Array,
  mac?: Uint8Array,
  options: { unlocked?: boolean } = {},
): Command<void> {
  return write(ZONE.data | (mac && options.unlocked ? ENCRYPTED : 0), slotAddress(slot, block, word), bytes, mac);
}

function write(zone: number, address: number, bytes: Uint8Array, mac: Uint8Array | undefined): Command<void> {
  if (bytes.length !== 4) exactly("data", bytes, 32);
  if (mac) {
    exactly("MAC", mac, 32);
    exactly("data", bytes, 32);
  }
  return acknowledged("Write", {
    param1: zone | (bytes.length === 32 ? BLOCK : 0),
    param2: address,
    data: mac ? concat(bytes, mac) : bytes,
  });
}

/** Where the message of Sign and Verify is: TempKey, or on the 608 also the message digest buffer. */
export type MessageSource = "tempKey" | "messageDigestBuffer";

const SOURCE_BIT: Readonly<Record<MessageSource, number>> = { tempKey: 0, messageDigestBuffer: 0x20 };

/** Signs the 32 bytes in TempKey (or the message digest buffer). @returns 64 bytes, R and S */
export function SignExternal(slot: number, source: MessageSource = "tempKey"): Command<Uint8Array> {
  return answering("Sign", 64, { param1: 0x80 | SOURCE_BIT[source], param2: slotNumber(slot) });
}

/** Signs a message the chip makes of TempKey and its own configuration (digests.ts). @returns 64 bytes, R and S */
export function SignInternal(
  slot: number,
  options: { serial?: boolean; invalidate?: boolean } = {},
): Command<Uint8Array> {
  return answering("Sign", 64, {
    param1: (options.serial ? 0x40 : 0) | (options.invalidate ? 0x01 : 0),
    param2: slotNumber(slot),
  });
}

/** SHA: begin. */
export function SHAStart(): Command<void> {
  return acknowledged("SHA", { param1: 0 });
}

/** HMAC-SHA256 with a slot's key: begin. */
export function SHAHmacStart(slot: number): Command<void> {
  return acknowledged("SHA", { param1: 4, param2: slotNumber(slot) });
}

/** @param block 64 bytes of the message */
export function SHAUpdate(block: Uint8Array): Command<void> {
  exactly("block", block, 64);
  return acknowledged("SHA", { param1: 1, param2: 64, data: block, repeatable: "context" });
}

/** The public key in a slot takes part in the digest. */
export function SHAPublic(slot: number): Command<void> {
  return acknowledged("SHA", { param1: 3, param2: slotNumber(slot), repeatable: "context" });
}

/** @param rest 0 to 63 bytes. @returns 32 bytes */
export function SHAEnd(rest: Uint8Array, options: { hmac508?: boolean } = {}): Command<Uint8Array> {
  if (rest.length > 63) throw new RangeError("the end of the message is at most 63 bytes");
  return answering("SHA", 32, {
    param1: options.hmac508 ? 5 : 2,
    param2: rest.length,
    data: rest,
    repeatable: "context",
  });
}

/** @param target which byte. @param value 0 to 255 */
export function UpdateExtra(target: "userExtra" | "selector", value: number): Command<void> {
  if (!Number.isInteger(value) || value < 0 || value > 255) throw new RangeError("value is 0 to 255");
  return acknowledged("UpdateExtra", { param1: target === "userExtra" ? 0 : 1, param2: value, repeatable: false });
}

/** Takes one of the remaining uses of slot 15 (508A). */
export function UpdateExtraDecrement(slot: number): Command<void> {
  return acknowledged("UpdateExtra", { param1: 2, param2: slotNumber(slot), repeatable: false });
}

/** @param signature 64 bytes, R and S, over the 32 bytes in TempKey. @param publicKey 64 bytes, X and Y */
export function VerifyExternal(
  signature: Uint8Array,
  publicKey: Uint8Array,
  source: MessageSource = "tempKey",
): Command<boolean> {
  exactly("signature", signature, 64);
  exactly("public key", publicKey, 64);
  return comparing("Verify", {
    param1: 0x02 | SOURCE_BIT[source],
    param2: 0x0004,
    data: concat(signature, publicKey),
  });
}

/** With the public key stored in a slot. @param signature 64 bytes */
export function VerifyStored(slot: number, signature: Uint8Array, source: MessageSource = "tempKey"): Command<boolean> {
  exactly("signature", signature, 64);
  return comparing("Verify", { param1: SOURCE_BIT[source], param2: slotNumber(slot), data: signature });
}

/**
 * Marks the public key in a slot valid or invalid, on the word of its parent key.
 *
 * @param signature 64 bytes by the parent over its internal message
 * @param otherData 19 bytes of that message
 */
export function VerifyValidate(
  slot: number,
  signature: Uint8Array,
  otherData: Uint8Array,
  options: { invalidate?: boolean } = {},
): Command<boolean> {
  exactly("signature", signature, 64);
  exactly("other data", otherData, 19);
  return comparing("Verify", {
    param1: options.invalidate ? 7 : 3,
    param2: slotNumber(slot),
    data: concat(signature, otherData),
  });
}

function u32le(payload: Uint8Array): number {
  return new Reader(payload).u32le();
}

function slotAddress(slot: number, block: number, word: number): number {
  return (slotNumber(slot) << 3) | word | (block << 8);
}

/** @throws RangeError unless it is 0 to 15 */
export function slotNumber(slot: number): number {
  if (!Number.isInteger(slot) || slot < 0 || slot > 15) throw new RangeError(`slot ${slot} is not 0 to 15`);
  return slot;
}

/** @throws RangeError unless `bytes` has this length; the message names lengths, never contents */
export function exactly(what: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new RangeError(`${what}: ${bytes.length} bytes where ${length} are needed`);
  return bytes;
}
