/** Commands only the ATECC608 has. Parameters: published tables of Microchip's library. */
import { concat } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";
import { acknowledged, answering, type Command } from "./command.ts";
import { exactly, slotNumber } from "./commands.ts";

/** KeyID that stands for TempKey. */
export const TEMP_KEY = 0xffff;

/**
 * One AES-128 block with a key in a slot or in TempKey.
 *
 * @param key slot 0 to 15, or `"tempKey"`; `keyBlock` 0 to 3 says which 16 bytes of it
 * @param block 16 bytes
 * @returns 16 bytes
 */
export function AES(
  operation: "encrypt" | "decrypt",
  key: number | "tempKey",
  block: Uint8Array,
  keyBlock = 0,
): Command<Uint8Array> {
  exactly("block", block, 16);
  return answering("AES", 16, {
    param1: (operation === "encrypt" ? 0 : 1) | keyBlockBits(keyBlock),
    param2: keyId(key),
    data: block,
  });
}

/** Galois field multiply. @param hash 16 bytes. @param block 16 bytes. @returns 16 bytes */
export function AESGfm(hash: Uint8Array, block: Uint8Array): Command<Uint8Array> {
  exactly("hash key", hash, 16);
  exactly("block", block, 16);
  return answering("AES", 16, { param1: 3, data: concat(hash, block) });
}

/** Where a KDF takes its key from, and where it puts the result. */
export const KDF_SOURCE = { tempKey: 0, tempKeyUpper: 1, slot: 2, alternateKeyBuffer: 3 } as const;
export const KDF_TARGET = {
  tempKey: 0x00,
  tempKeyUpper: 0x04,
  slot: 0x08,
  alternateKeyBuffer: 0x0c,
  output: 0x10,
  encryptedOutput: 0x14,
} as const;
export const KDF_ALGORITHM = { PRF: 0x00, AES: 0x20, HKDF: 0x40 } as const;

/** What to derive. */
export interface KdfParameters {
  readonly algorithm: keyof typeof KDF_ALGORITHM;
  readonly source: keyof typeof KDF_SOURCE;
  /** Slot of the key, for source `slot`. */
  readonly sourceSlot?: number;
  /** The details word without the message length. */
  readonly details?: number;
  /** 0 to 128 bytes */
  readonly message: Uint8Array;
}

/** KDF whose result is answered in clear. @param length 32 or 64 bytes */
export function KDF(parameters: KdfParameters, length: 32 | 64 = 32): Command<Uint8Array> {
  return answering("KDF", length, kdf(parameters, KDF_TARGET.output, 0));
}

/** KDF whose result stays in the chip. */
export function KDFInto(
  parameters: KdfParameters,
  target: "tempKey" | "tempKeyUpper" | "alternateKeyBuffer" | { slot: number },
): Command<void> {
  return typeof target === "string"
    ? acknowledged("KDF", kdf(parameters, KDF_TARGET[target], 0))
    : acknowledged("KDF", kdf(parameters, KDF_TARGET.slot, slotNumber(target.slot)));
}

function kdf(parameters: KdfParameters, target: number, targetSlot: number) {
  if (parameters.message.length > 128) throw new RangeError("message: at most 128 bytes");
  const details = new Writer(4).u32le(((parameters.details ?? 0) | (parameters.message.length << 24)) >>> 0).done();
  return {
    param1: KDF_SOURCE[parameters.source] | target | KDF_ALGORITHM[parameters.algorithm],
    param2: slotNumber(parameters.sourceSlot ?? 0) | (targetSlot << 8),
    data: concat(details, parameters.message),
  };
}

/** Self-tests, by their mode bits. */
export const SELF_TEST = { rng: 0x01, ecdsa: 0x02, ecdh: 0x08, aes: 0x10, sha: 0x20, all: 0x3b } as const;

export function SelfTest(tests: number = SELF_TEST.all): Command<void> {
  return acknowledged("SelfTest", { param1: tests });
}

/** Makes a private key in TempKey. @returns its public key, 64 bytes */
export function GenKeyTemporary(): Command<Uint8Array> {
  return answering("GenKey", 64, { param1: 0x04, param2: TEMP_KEY });
}

function keyId(key: number | "tempKey"): number {
  return key === "tempKey" ? TEMP_KEY : slotNumber(key);
}

function keyBlockBits(block: number): number {
  if (!Number.isInteger(block) || block < 0 || block > 3) throw new RangeError("key block is 0 to 3");
  return block << 6;
}
