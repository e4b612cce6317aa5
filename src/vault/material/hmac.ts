import { createHmac } from "node:crypto";
import type { Digest } from "../../operations/key-types.ts";

/** HMAC (RFC 2104). @returns as many bytes as the digest has */
export function hmac(digest: Digest, key: Uint8Array, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac(digest, key).update(data).digest());
}
