import type { Secret } from "../../bytes/secret.ts";
import { hmacSha256 } from "./kdf.ts";

/**
 * The authValue of one kind of object of a vault. It is printable, so that other programs can be given it as a passphrase.
 *
 * @param seed 32 bytes
 * @returns 32 bytes of ASCII with 192 random bits; the caller zeroes them
 */
export function authFrom(seed: Secret, purpose: "key" | "sealed" | "attestation" | "counter"): Uint8Array {
  const bytes = seed.use((seed) => hmacSha256(seed, new TextEncoder().encode(`thornkey tpm auth ${purpose}`)));
  const auth = printable(bytes.subarray(0, 24));
  bytes.fill(0);
  return auth;
}

const ALPHABET = new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

/** Base64url of 24 bytes, without ever making a string of them. */
export function printable(bytes: Uint8Array): Uint8Array {
  const text = new Uint8Array(32);
  for (let at = 0; at < 32; at++) {
    const bit = at * 6;
    const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    text[at] = ALPHABET[(pair >> (10 - (bit & 7))) & 63] ?? 0;
  }
  return text;
}
