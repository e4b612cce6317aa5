/** Locking and unlocking of streams, in constant memory. */
import { randomBytes } from "node:crypto";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { dearmored, isArmored } from "./armor.ts";
import { BLOCK_BYTES, CHUNKS_PER_BLOCK, openChunks, SEALED_BLOCK_BYTES, sealChunks, sealedLength } from "./chunks.ts";
import { type FileKeyOpener, NONCE_BYTES, openFileKey, payloadCipher } from "./file-key.ts";
import { headerLength, MAXIMUM_HEADER, parseHeader } from "./header.ts";
import { type Puller, pullFrom } from "./puller.ts";
import { newHeader } from "./recipients.ts";

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** What comes out holds only until the next piece is asked for; saves memory. */
  readonly recycle?: boolean | undefined;
}

/**
 * Locks a stream: an age file comes out.
 *
 * @param recipients see {@link newHeader}
 * @throws ThornkeyError `USAGE`, `ABORTED`
 */
export async function* encrypt(
  source: AsyncIterable<Uint8Array>,
  recipients: readonly string[],
  { signal, recycle = false }: StreamOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const puller = pullFrom(source, signal);
  try {
    const { header, fileKey } = await newHeader(recipients);
    using secret = fileKey;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = payloadCipher(secret, nonce);
    const block = new Uint8Array(BLOCK_BYTES);
    const space = spaceOf(SEALED_BLOCK_BYTES, recycle);
    try {
      yield header;
      yield nonce;
      for (let first = 0, last = false; !last; first += CHUNKS_PER_BLOCK) {
        const filled = await puller.fill(block);
        last = await puller.ended();
        const sealed = space(sealedLength(filled));
        sealChunks(cipher, first, block.subarray(0, filled), last, sealed);
        yield sealed;
      }
    } finally {
      cipher.close();
      block.fill(0);
    }
  } finally {
    await puller.close();
  }
}

/**
 * Unlocks an age file, binary or armored. Everything that comes out is authentic; but the stream may still throw at its
 * end, when the file was cut short. Who must not act on half a file waits for the end.
 *
 * @throws ThornkeyError `NOT_PERMITTED` when it is not for us, `MALFORMED` when it is not as its writer left it,
 *   `ABORTED`, and what `open` throws
 */
export async function* decrypt(
  source: AsyncIterable<Uint8Array>,
  open: FileKeyOpener,
  { signal, recycle = false }: StreamOptions = {},
): AsyncGenerator<Uint8Array, void> {
  const raw = pullFrom(source, signal);
  try {
    const puller = (await isArmored(raw)) ? pullFrom(dearmored(raw), signal) : raw;
    using fileKey = await openFileKey(parseHeader(await takeHeader(puller)), open, signal);
    yield* openPayload(puller, fileKey, recycle);
  } finally {
    await raw.close();
  }
}

async function takeHeader(puller: Puller): Promise<Uint8Array> {
  const start = new Uint8Array(MAXIMUM_HEADER);
  let filled = 0;
  for (;;) {
    const piece = await puller.next();
    if (piece === undefined) throw new ThornkeyError("MALFORMED", "this is no age file, or cut short in its header");
    const taken = piece.subarray(0, start.length - filled);
    start.set(taken, filled);
    filled += taken.length;
    const length = headerLength(start.subarray(0, filled));
    if (length === undefined) continue;
    puller.unread(piece.subarray(taken.length - (filled - length)));
    return start.subarray(0, length);
  }
}

async function* openPayload(puller: Puller, fileKey: Secret, recycle: boolean): AsyncGenerator<Uint8Array, void> {
  const nonce = new Uint8Array(NONCE_BYTES);
  if ((await puller.fill(nonce)) < NONCE_BYTES) throw cutOrChanged();
  const cipher = payloadCipher(fileKey, nonce);
  try {
    const block = new Uint8Array(SEALED_BLOCK_BYTES);
    const space = spaceOf(SEALED_BLOCK_BYTES, recycle);
    for (let first = 0, last = false; !last; first += CHUNKS_PER_BLOCK) {
      const filled = await puller.fill(block);
      last = await puller.ended();
      const plain = space(filled);
      const { length, whole } = openChunks(cipher, first, block.subarray(0, filled), last, plain);
      if (length > 0) yield plain.subarray(0, length);
      if (!whole) throw cutOrChanged();
    }
  } finally {
    cipher.close();
  }
}

/** @returns what gives arrays of a length: new ones, or always the same */
function spaceOf(most: number, recycle: boolean): (length: number) => Uint8Array {
  if (!recycle) return (length) => new Uint8Array(length);
  const one = new Uint8Array(most);
  return (length) => one.subarray(0, length);
}

/** @returns the error of a payload that is not whole and authentic */
export function cutOrChanged(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "this locked object was cut short or changed; nothing of it can be trusted");
}
