/** What follows from the file key of an age file: the header's MAC, and the key of the payload. */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { type ChaCha20Poly1305, chaCha20Poly1305 } from "../../machine/openssl/chacha20-poly1305.ts";
import type { Header, Stanza } from "./header.ts";

/**
 * Finds the file key: asks the vault, or whoever holds a key to one of the stanzas.
 *
 * @returns 16 bytes, the caller's to destroy; undefined when no stanza is for him
 */
export type FileKeyOpener = (stanzas: readonly Stanza[], signal?: AbortSignal) => Promise<Secret | undefined>;

export const FILE_KEY_BYTES = 16;
/** In front of the payload. */
export const NONCE_BYTES = 16;
const NO_SALT = new Uint8Array(0);

/**
 * @returns the file key of a header that is as its writer left it
 * @throws ThornkeyError `NOT_PERMITTED` when no stanza is for us; `MALFORMED` when the header was changed
 */
export async function openFileKey(header: Header, open: FileKeyOpener, signal?: AbortSignal): Promise<Secret> {
  const fileKey = await open(header.stanzas, signal);
  if (fileKey === undefined) {
    throw new ThornkeyError("NOT_PERMITTED", "this was not locked to this vault", {
      hint: "'thornkey key public storage --format age' prints what to lock to",
    });
  }
  if (fileKey.length === FILE_KEY_BYTES && timingSafeEqual(headerMac(fileKey, header.authenticated), header.mac)) {
    return fileKey;
  }
  fileKey.destroy();
  throw new ThornkeyError("MALFORMED", "the header of this age file was changed");
}

/** @param authenticated the header up to and with `---`. @returns 32 bytes */
export function headerMac(fileKey: Secret, authenticated: Uint8Array): Uint8Array {
  const key = fileKey.use((bytes) => new Uint8Array(hkdfSync("sha256", bytes, NO_SALT, "header", 32)));
  const mac = createHmac("sha256", key).update(authenticated).digest();
  key.fill(0);
  return mac;
}

/** @param nonce 16 bytes. @returns the cipher of the payload, the caller's to close */
export function payloadCipher(fileKey: Secret, nonce: Uint8Array): ChaCha20Poly1305 {
  const key = fileKey.use((bytes) => new Uint8Array(hkdfSync("sha256", bytes, nonce, "payload", 32)));
  const cipher = chaCha20Poly1305(key);
  key.fill(0);
  return cipher;
}
