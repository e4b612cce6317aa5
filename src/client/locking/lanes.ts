import type { FileHandle } from "node:fs/promises";
import { ThornkeyError } from "../../errors.ts";
import type { ChaCha20Poly1305 } from "../../machine/openssl/chacha20-poly1305.ts";
import { BLOCK_BYTES, CHUNKS_PER_BLOCK, openChunks, SEALED_BLOCK_BYTES, sealChunks, sealedLength } from "./chunks.ts";
import { throwIfAborted } from "./puller.ts";
import { cutOrChanged } from "./stream.ts";
import type { Access } from "./whole.ts";

export interface Stretch {
  readonly file: FileHandle;
  /** Where the payload begins, in bytes, after its nonce if it is sealed. */
  readonly from: number;
}

export interface LaneOptions {
  readonly access: Access;
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes of the input that are done, more each time. */
  readonly onDone?: ((done: number) => void) | undefined;
}

/** Seals `length` bytes of one file into another, block by block, each at its place. */
export function sealFile(
  cipher: ChaCha20Poly1305,
  input: Stretch,
  length: number,
  output: Stretch,
  options: LaneOptions,
) {
  const blocks = Math.max(1, Math.ceil(length / BLOCK_BYTES));
  const made = () => ({ plain: new Uint8Array(BLOCK_BYTES), sealed: new Uint8Array(SEALED_BLOCK_BYTES) });
  return inLanes(blocks, made, options, async (index, buffers) => {
    const plain = buffers.plain.subarray(0, Math.min(BLOCK_BYTES, length - index * BLOCK_BYTES));
    if (!(await options.access.read(input.file, plain, input.from + index * BLOCK_BYTES))) throw shortened();
    const sealed = buffers.sealed.subarray(0, sealedLength(plain.length));
    sealChunks(cipher, index * CHUNKS_PER_BLOCK, plain, index === blocks - 1, sealed);
    await options.access.write(output.file, sealed, output.from + index * SEALED_BLOCK_BYTES);
    return plain.length;
  });
}

/**
 * The reverse of {@link sealFile}; `output` is to be trusted only when it does not throw.
 *
 * @throws ThornkeyError `MALFORMED`
 */
export function openFile(
  cipher: ChaCha20Poly1305,
  input: Stretch,
  length: number,
  output: Stretch,
  options: LaneOptions,
) {
  const blocks = Math.max(1, Math.ceil(length / SEALED_BLOCK_BYTES));
  const made = () => ({ plain: new Uint8Array(BLOCK_BYTES), sealed: new Uint8Array(SEALED_BLOCK_BYTES) });
  return inLanes(blocks, made, options, async (index, buffers) => {
    const sealed = buffers.sealed.subarray(0, Math.min(SEALED_BLOCK_BYTES, length - index * SEALED_BLOCK_BYTES));
    if (!(await options.access.read(input.file, sealed, input.from + index * SEALED_BLOCK_BYTES))) throw shortened();
    const last = index === blocks - 1;
    const opened = openChunks(cipher, index * CHUNKS_PER_BLOCK, sealed, last, buffers.plain);
    if (!opened.whole) throw cutOrChanged();
    await options.access.write(
      output.file,
      buffers.plain.subarray(0, opened.length),
      output.from + index * BLOCK_BYTES,
    );
    return sealed.length;
  });
}

interface Buffers {
  readonly plain: Uint8Array;
  readonly sealed: Uint8Array;
}

/** Does the blocks in a few lanes; when one fails, the others end before the failure is told. */
async function inLanes(
  blocks: number,
  made: () => Buffers,
  { access, signal, onDone }: LaneOptions,
  work: (index: number, buffers: Buffers) => Promise<number>,
): Promise<void> {
  let next = 0;
  let done = 0;
  let failed = false;
  const lane = async () => {
    const buffers = made();
    try {
      while (next < blocks && !failed) {
        throwIfAborted(signal);
        const length = await work(next++, buffers);
        done += length;
        onDone?.(done);
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      buffers.plain.fill(0);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(access.lanes, blocks) }, lane));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

function shortened(): ThornkeyError {
  return new ThornkeyError("FAILED", "the file became shorter while it was read");
}
