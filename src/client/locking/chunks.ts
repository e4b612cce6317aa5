/**
 * The payload of an age file (C2SP, age specification, "Payload"): chunks of 64 KiB, each sealed by ChaCha20-Poly1305
 * with its number and whether it is the last in its nonce, so that none can be left out, moved or cut off.
 */
import { type ChaCha20Poly1305, CHACHA_TAG_BYTES as TAG_BYTES } from "../../machine/openssl/chacha20-poly1305.ts";

export const CHUNK_BYTES = 65_536;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
/** Chunks are read, sealed and written so many at a time. */
export const CHUNKS_PER_BLOCK = 16;
export const BLOCK_BYTES = CHUNKS_PER_BLOCK * CHUNK_BYTES;
export const SEALED_BLOCK_BYTES = CHUNKS_PER_BLOCK * SEALED_CHUNK_BYTES;

const NONCE_BYTES = 12;
const nonce = new Uint8Array(NONCE_BYTES);
const nonceView = new DataView(nonce.buffer);

/** @returns bytes of a payload of `plain` bytes when sealed, without its nonce */
export function sealedLength(plain: number): number {
  return plain + TAG_BYTES * Math.max(1, Math.ceil(plain / CHUNK_BYTES));
}

/**
 * @param first number of the first chunk in `plain`
 * @param last whether `plain` ends the payload; only then it may end within a chunk, or be empty
 * @param out takes `sealedLength(plain.length)` bytes
 */
export function sealChunks(
  cipher: ChaCha20Poly1305,
  first: number,
  plain: Uint8Array,
  last: boolean,
  out: Uint8Array,
): void {
  const chunks = Math.max(1, Math.ceil(plain.length / CHUNK_BYTES));
  for (let i = 0; i < chunks; i++) {
    const chunk = plain.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES);
    cipher.seal(nonceOf(first + i, last && i === chunks - 1), chunk, out.subarray(i * SEALED_CHUNK_BYTES));
  }
}

/**
 * @param first number of the first chunk in `sealed`
 * @param last whether `sealed` ends the payload
 * @param out takes `sealed` without its tags; holds nothing of a chunk that is not authentic
 * @returns how many bytes of `out` are authentic and follow from the first chunk on, and whether that is all of `sealed`
 */
export function openChunks(
  cipher: ChaCha20Poly1305,
  first: number,
  sealed: Uint8Array,
  last: boolean,
  out: Uint8Array,
): { readonly length: number; readonly whole: boolean } {
  const chunks = Math.max(1, Math.ceil(sealed.length / SEALED_CHUNK_BYTES));
  let length = 0;
  for (let i = 0; i < chunks; i++) {
    const chunk = sealed.subarray(i * SEALED_CHUNK_BYTES, (i + 1) * SEALED_CHUNK_BYTES);
    const size = chunk.length - TAG_BYTES;
    // Only an empty payload has an empty chunk.
    if (size < 0 || (size === 0 && first + i > 0)) return { length, whole: false };
    const isLast = last && i === chunks - 1;
    if (!cipher.open(nonceOf(first + i, isLast), chunk, out.subarray(length))) return { length, whole: false };
    length += size;
  }
  return { length, whole: true };
}

/** @returns a view that holds until the next call: 11 bytes of number, big endian, and whether the chunk is the last */
function nonceOf(chunk: number, last: boolean): Uint8Array {
  nonceView.setUint32(3, Math.floor(chunk / 2 ** 32));
  nonceView.setUint32(7, chunk % 2 ** 32);
  nonceView.setUint8(NONCE_BYTES - 1, last ? 1 : 0);
  return nonce;
}
