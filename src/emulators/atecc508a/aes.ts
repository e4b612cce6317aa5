import { createCipheriv, createDecipheriv } from "node:crypto";
import { toHex } from "../../bytes/bytes.ts";

/** AES-128 of one block of 16 bytes, as the 608 computes it; modes of operation are the host's. */
export function encryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  return createCipheriv("aes-128-ecb", key, null).setAutoPadding(false).update(block);
}

export function decryptBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  return createDecipheriv("aes-128-ecb", key, null).setAutoPadding(false).update(block);
}

/** The product of two blocks in GF(2^128) as GCM numbers its bits (NIST SP 800-38D, 6.3). */
export function multiplyBlocks(x: Uint8Array, y: Uint8Array): Uint8Array {
  const factor = integer(x);
  let v = integer(y);
  let product = 0n;
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((factor >> bit) & 1n) product ^= v;
    v = v & 1n ? (v >> 1n) ^ REDUCTION : v >> 1n;
  }
  return new Uint8Array(Buffer.from(product.toString(16).padStart(32, "0"), "hex"));
}

/** 11100001 followed by 120 zeros. */
const REDUCTION = 0xe1n << 120n;

function integer(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes)}`);
}
