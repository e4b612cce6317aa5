import { createHmac } from "node:crypto";

/** HMAC-SHA-512 over the parts in order. @returns 64 bytes that are the caller's own: zero them when they are secret */
export function hmacSha512(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac("sha512", key);
  for (const part of parts) mac.update(part);
  const result = mac.digest();
  return new Uint8Array(result.buffer, result.byteOffset, result.length);
}

/** @param index 0 to 2^32 - 1. @returns 4 bytes, big endian: ser32 of BIP32 */
export function ser32(index: number): Uint8Array {
  return Uint8Array.of(index >>> 24, index >>> 16, index >>> 8, index);
}
