/** Unlocking to a stream that takes nothing back: it begins only when it is known that it will end well. */
import { randomBytes } from "node:crypto";
import { type FileHandle, open as openPath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { Secret } from "../../bytes/secret.ts";
import type { FileKeyOpener } from "./file-key.ts";
import type { UnlockOptions } from "./files.ts";
import { pullFrom } from "./puller.ts";
import { readPieces, type Source } from "./source.ts";
import { decrypt } from "./stream.ts";

/** So much is kept in memory. */
const SMALL_BYTES = 1_048_576;

/** Writes everything, piece after piece, and does not end the stream. */
export async function writeTo(output: Writable, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  let broken: (error: Error) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    broken = reject;
  });
  failure.catch(() => undefined);
  // A stream whose reader has gone says so here, and not always to who writes.
  output.on("error", broken);
  try {
    for await (const piece of pieces) {
      const written = new Promise<void>((resolve, reject) => {
        output.write(piece, (error) => (error ? reject(error) : resolve()));
      });
      await Promise.race([written, failure]);
    }
  } finally {
    output.off("error", broken);
  }
}

export async function unlockToStream(source: Source, output: Writable, options: UnlockOptions): Promise<void> {
  const { signal } = options;
  const stream = source.stream();
  const puller = pullFrom(stream, signal);
  const small = Buffer.alloc(SMALL_BYTES);
  const filled = await puller.fill(small);
  if (await puller.ended()) {
    await writeTo(output, held(decrypt(only(small.subarray(0, filled)), options.open, options)));
    return;
  }
  using opener = once(options.open);
  if (source.seekable) {
    await puller.close();
    await pass(decrypt(source.stream(), opener.open, { signal, recycle: true }));
    await writeTo(output, decrypt(source.stream(), opener.open, { signal, recycle: true }));
    return;
  }
  await using spool = await namelessFile();
  await spool.handle.write(small, 0, filled);
  for (let piece = await puller.next(); piece !== undefined; piece = await puller.next())
    await spool.handle.write(piece);
  await pass(decrypt(spool.stream(), opener.open, { signal, recycle: true }));
  await writeTo(output, decrypt(spool.stream(), opener.open, { signal, recycle: true }));
}

/** Keeps everything back until the end. */
async function* held(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const kept: Uint8Array[] = [];
  for await (const piece of pieces) kept.push(piece);
  yield* kept;
}

/** Takes everything only to see whether it throws. */
async function pass(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of pieces);
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

/** Asks for the file key once, and answers with it again. */
function once(open: FileKeyOpener): { readonly open: FileKeyOpener } & Disposable {
  let known: Secret | undefined;
  return {
    async open(stanzas, signal) {
      known ??= await open(stanzas, signal);
      return known?.use((bytes) => new Secret(bytes.slice()));
    },
    [Symbol.dispose]: () => known?.destroy(),
  };
}

/** A file that is gone with its descriptor, whatever happens to this process. */
async function namelessFile(): Promise<
  { readonly handle: FileHandle; stream(): AsyncIterable<Uint8Array> } & AsyncDisposable
> {
  const path = join(tmpdir(), `.thornkey-${randomBytes(8).toString("hex")}`);
  const handle = await openPath(path, "wx+", 0o600);
  await rm(path);
  return {
    handle,
    stream: () => readPieces(handle, 0),
    [Symbol.asyncDispose]: () => handle.close(),
  };
}
