/**
 * The payload of an age file (C2SP, age specification, "Payload"): chunks of 64 KiB, each sealed by ChaCha20-Poly1305
 * with its number and whether it is the last in its nonce, so that none can be left out, moved or cut off.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";

export const CHUNK_BYTES = 65_536;
const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
/** Chunks are read, sealed and written so many at a time. */
export const CHUNKS_PER_BLOCK = 16;
export const BLOCK_BYTES = CHUNKS_PER_BLOCK * CHUNK_BYTES;
export const SEALED_BLOCK_BYTES = CHUNKS_PER_BLOCK * SEALED_CHUNK_BYTES;

const NONCE_BYTES = 12;
const OPTIONS = { authTagLength: TAG_BYTES } as const;
/** OpenSSL's results come in new arrays; the allocator is twice as fast with small ones. */
const STEP_BYTES = 16_384;

/** @returns bytes of a payload of `plain` bytes when sealed, without its nonce */
export function sealedLength(plain: number): number {
  return plain + TAG_BYTES * Math.max(1, Math.ceil(plain / CHUNK_BYTES));
}

/** The reverse of {@link sealedLength}. @returns undefined for a length that no payload has */
export function plainLength(sealed: number): number | undefined {
  const chunks = Math.ceil(sealed / SEALED_CHUNK_BYTES);
  const plain = sealed - chunks * TAG_BYTES;
  return chunks > 0 && sealedLength(plain) === sealed ? plain : undefined;
}

/**
 * @param first number of the first chunk in `plain`
 * @param last whether `plain` ends the payload; only then it may end within a chunk, or be empty
 * @param out takes `sealedLength(plain.length)` bytes
 */
export function sealChunks(key: KeyObject, first: number, plain: Uint8Array, last: boolean, out: Uint8Array): void {
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK_BYTES));
  for (let i = 0; i < chunks; i++) {
    const chunk = plain.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES);
    const cipher = createCipheriv("chacha20-poly1305", key, nonceOf(first + i, last && i === chunks - 1), OPTIONS);
    const position = i * SEALED_CHUNK_BYTES;
    for (let at = 0; at < chunk.length; at += STEP_BYTES) {
      out.set(cipher.update(chunk.subarray(at, at + STEP_BYTES)), position + at);
    }
    cipher.final();
    out.set(cipher.getAuthTag(), position + chunk.length);
  }
}

/**
 * @param first number of the first chunk in `sealed`
 * @param last whether `sealed` ends the payload
 * @param out takes `sealed` without its tags; holds nothing of a chunk that is not authentic
 * @returns how many bytes of `out` are authentic and follow from the first chunk on, and whether that is all of `sealed`
 */
export function openChunks(
  key: KeyObject,
  first: number,
  sealed: Uint8Array,
  last: boolean,
  out: Uint8Array,
): { readonly length: number; readonly whole: boolean } {
  const chunks = Math.max(1, Math.ceil(sealed.length / SEALED_CHUNK_BYTES));
  let length = 0;
  for (let i = 0; i < chunks; i++) {
    const chunk = sealed.subarray(i * SEALED_CHUNK_BYTES, (i + 1) * SEALED_CHUNK_BYTES);
    const end = chunk.length - TAG_BYTES;
    // Only an empty payload has an empty chunk.
    if (end < 0 || (end === 0 && first + i > 0)) return { length, whole: false };
    const decipher = createDecipheriv("chacha20-poly1305", key, nonceOf(first + i, last && i === chunks - 1), OPTIONS);
    decipher.setAuthTag(chunk.subarray(end));
    for (let at = 0; at < end; at += STEP_BYTES) {
      out.set(decipher.update(chunk.subarray(at, Math.min(at + STEP_BYTES, end))), length + at);
    }
    try {
      decipher.final();
    } catch {
      out.fill(0, length, length + end);
      return { length, whole: false };
    }
    length += end;
  }
  return { length, whole: true };
}

/** 11 bytes of number, big endian, and one that says whether the chunk is the last. */
function nonceOf(chunk: number, last: boolean): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  const view = new DataView(nonce.buffer);
  view.setUint32(3, Math.floor(chunk / 2 ** 32));
  view.setUint32(7, chunk % 2 ** 32);
  nonce[11] = last ? 1 : 0;
  return nonce;
}
