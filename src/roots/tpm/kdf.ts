/** The arithmetic of authenticated sessions and credentials (TPM 2.0 Part 1, 11.4.10 and annexes B and C), SHA-256. */
import { createCipheriv, createDecipheriv, createHash, createHmac } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";

const u32 = (value: number) => new Writer(4).u32be(value).done();
const ascii = (text: string) => new TextEncoder().encode(`${text}\0`);

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

/**
 * KDFa: SP 800-108 in counter mode.
 *
 * @param bits of the result, a multiple of 8
 */
export function kdfa(key: Uint8Array, label: string, u: Uint8Array, v: Uint8Array, bits: number): Uint8Array {
  const result = new Uint8Array(bits / 8);
  for (let block = 1, at = 0; at < result.length; block++, at += 32) {
    const part = hmacSha256(key, u32(block), ascii(label), u, v, u32(bits));
    result.set(part.subarray(0, result.length - at), at);
    part.fill(0);
  }
  return result;
}

/** KDFe: SP 800-56A, 256 bits. @param z the shared secret's X coordinate */
export function kdfe(z: Uint8Array, label: string, u: Uint8Array, v: Uint8Array): Uint8Array {
  return sha256(u32(1), z, ascii(label), u, v);
}

/** AES-128 in CFB mode. @param key 16 bytes. @param iv 16 bytes */
export function encryptCfb(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-128-cfb", key, iv);
  return concat(cipher.update(plaintext), cipher.final());
}

export function decryptCfb(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const cipher = createDecipheriv("aes-128-cfb", key, iv);
  return concat(cipher.update(ciphertext), cipher.final());
}
