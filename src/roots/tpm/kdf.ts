/** The arithmetic of authenticated sessions and credentials (TPM 2.0 Part 1, 11.4.10 and annexes B and C), SHA-256. */
import { createCipheriv, createDecipheriv, createSecretKey, hash } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";

const u32 = (value: number) => new Writer(4).u32be(value).done();
const ascii = (text: string) => new TextEncoder().encode(`${text}\0`);

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  return digest(parts.length === 1 && only !== undefined ? only : concat(...parts));
}

const BLOCK = 64;

/**
 * RFC 2104, by two digests of what lies in one piece: a TPM's session needs several for each command, and an object of
 * OpenSSL for each, with a key object of its own, costs ten times as much.
 */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const short = key.length > BLOCK ? digest(key) : key;
  let length = BLOCK;
  for (const part of parts) length += part.length;
  const inner = new Uint8Array(length).fill(0x36, 0, BLOCK);
  const outer = new Uint8Array(BLOCK + 32).fill(0x5c, 0, BLOCK);
  for (let at = 0; at < short.length; at++) {
    const byte = short[at] ?? 0;
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  let at = BLOCK;
  for (const part of parts) {
    inner.set(part, at);
    at += part.length;
  }
  const within = digest(inner);
  outer.set(within, BLOCK);
  const hmac = digest(outer);
  for (const secret of [inner, outer, within]) secret.fill(0);
  if (short !== key) short.fill(0);
  return hmac;
}

function digest(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash("sha256", bytes, "buffer"));
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

/**
 * AES-128 in CFB mode. The key goes in as a key object: from bytes Node makes one, too, and takes three times as long.
 *
 * @param key 16 bytes
 * @param iv 16 bytes
 */
export function encryptCfb(key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return createCipheriv("aes-128-cfb", createSecretKey(key), iv).update(plaintext); // a stream: nothing is left to finish
}

export function decryptCfb(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  return createDecipheriv("aes-128-cfb", createSecretKey(key), iv).update(ciphertext);
}
