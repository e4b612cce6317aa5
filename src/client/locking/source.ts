/** Where locked and unlocked files come from: a path, or standard input. */
import { type FileHandle, open as openPath } from "node:fs/promises";
import type { Writable } from "node:stream";
import { ThornkeyError } from "../../errors.ts";

export interface Progress {
  /** Bytes of the input. */
  readonly done: number;
  /** Undefined when nobody can know. */
  readonly total: number | undefined;
}

export interface FileOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Replaces what is where the output goes. */
  readonly force?: boolean | undefined;
  /** Nothing else waits for this thread: it reads and writes itself, with less to do in all. For command lines. */
  readonly blocking?: boolean | undefined;
  /** What `-` is; without it the standard input and output of the process. */
  readonly standardInput?: AsyncIterable<Uint8Array> | undefined;
  readonly standardOutput?: Writable | undefined;
}

/** Standard input or output. */
export const STANDARD = "-";
const READ_BYTES = 1_048_576;

/** A regular file with something in it. */
export interface Seekable {
  readonly path: string;
  readonly handle: FileHandle;
  readonly size: number;
  readonly changed: number;
}

export interface Source extends AsyncDisposable {
  /** From the beginning; more than once only when `seekable`. */
  stream(): AsyncIterable<Uint8Array>;
  readonly seekable: Seekable | undefined;
}

/** @throws ThornkeyError `USAGE` for a folder; errors of the file system */
export async function openSource(path: string, { onProgress, standardInput }: FileOptions): Promise<Source> {
  const none = { [Symbol.asyncDispose]: async () => undefined };
  if (path === STANDARD) {
    const stream = () => counted(standardInput ?? process.stdin, undefined, onProgress);
    return { ...none, stream, seekable: undefined };
  }
  const handle = await openPath(path, "r");
  try {
    const facts = await handle.stat();
    if (facts.isDirectory()) {
      throw new ThornkeyError("USAGE", `${path} is a folder`, { hint: "'tar -c FOLDER | thornkey lock -' locks one" });
    }
    // Files in /proc and the like say that they are empty.
    const seekable = facts.isFile() && facts.size > 0;
    const total = seekable ? facts.size : undefined;
    return {
      stream: () => counted(readPieces(handle, seekable ? 0 : null), total, onProgress),
      seekable: seekable ? { path, handle, size: facts.size, changed: facts.mtimeMs } : undefined,
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Always in the same array: what comes out holds only until the next piece is asked for.
 *
 * @param from null: from wherever the file is, which may have no positions at all
 */
export async function* readPieces(handle: FileHandle, from: number | null): AsyncGenerator<Uint8Array, void> {
  const piece = new Uint8Array(READ_BYTES);
  for (let position = from; ; ) {
    const { bytesRead } = await handle.read(piece, 0, piece.length, position);
    if (bytesRead === 0) return;
    if (position !== null) position += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  total: number | undefined,
  onProgress: FileOptions["onProgress"],
): AsyncGenerator<Uint8Array, void> {
  let done = 0;
  for await (const piece of source) {
    yield piece;
    done += piece.length;
    onProgress?.({ done, total });
  }
}

/** @returns the error of an input that is not as it was when it was opened */
export function changing(path: string): ThornkeyError {
  return new ThornkeyError("FAILED", `${path} changed while it was read`);
}
