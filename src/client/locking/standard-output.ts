/** Unlocking to a stream that takes nothing back: it begins only when it is known that it will end well. */
import { randomBytes } from "node:crypto";
import { type FileHandle, open as openPath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { Secret } from "../../bytes/secret.ts";
import type { FileKeyOpener } from "./file-key.ts";
import type { UnlockOptions } from "./files.ts";
import { orAborted, pullFrom } from "./puller.ts";
import { type FileOptions, readPieces, type Source } from "./source.ts";
import { decrypt } from "./stream.ts";
import { inBackground } from "./whole.ts";

/** So much is kept in memory. */
const SMALL_BYTES = 1_048_576;

/**
 * Writes everything, piece after piece, and does not end the stream.
 *
 * @param pieces is told whether it may use its arrays again: not every stream is through with them when it says so
 */
export async function writeTo(
  { standardOutput, signal }: FileOptions,
  pieces: (recycle: boolean) => AsyncIterable<Uint8Array>,
): Promise<void> {
  const output: Writable = standardOutput ?? process.stdout;
  let broken: (error: Error) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    broken = reject;
  });
  failure.catch(() => undefined);
  // A stream whose reader has gone says so here, and not always to who writes.
  output.on("error", broken);
  for await (const piece of pieces(standardOutput === undefined)) {
    const written = new Promise<void>((resolve, reject) => {
      output.write(piece, (error) => (error ? reject(error) : resolve()));
    });
    await orAborted(Promise.race([written, failure]), signal);
  }
  // Not after a failure: the stream may say it once more, and nobody else listens.
  output.off("error", broken);
}

/** See {@link unlockFile}. */
export async function unlockToStandard(source: Source, options: UnlockOptions): Promise<void> {
  const { signal } = options;
  const puller = pullFrom(source.stream(), signal);
  try {
    const small = Buffer.alloc(SMALL_BYTES);
    const filled = await puller.fill(small);
    if (await puller.ended()) {
      const whole = await collected(decrypt(only(small.subarray(0, filled)), options.open, options));
      await writeTo(options, () => only(whole));
    } else if (source.seekable) {
      await unlockTwice(() => source.stream(), options);
    } else {
      await using spool = await namelessFile();
      await inBackground.write(spool.handle, small.subarray(0, filled));
      for (let piece = await puller.next(); piece !== undefined; piece = await puller.next()) {
        await inBackground.write(spool.handle, piece);
      }
      await unlockTwice(() => readPieces(spool.handle, 0), options);
    }
  } finally {
    await puller.close();
  }
}

/** Once to see whether it is whole, once to write it. */
async function unlockTwice(stream: () => AsyncIterable<Uint8Array>, options: UnlockOptions): Promise<void> {
  const { signal } = options;
  using opener = once(options.open);
  for await (const _ of decrypt(stream(), opener.open, { signal, recycle: true }));
  await writeTo(options, (recycle) => decrypt(stream(), opener.open, { signal, recycle }));
}

async function collected(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
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
      return known?.use((bytes) => new Secret(Uint8Array.from(bytes)));
    },
    [Symbol.dispose]: () => known?.destroy(),
  };
}

/** A file that is gone with its descriptor, whatever happens to this process. */
async function namelessFile(): Promise<{ readonly handle: FileHandle } & AsyncDisposable> {
  const path = join(tmpdir(), `.thornkey-${randomBytes(8).toString("hex")}`);
  const handle = await openPath(path, "wx+", 0o600);
  await rm(path);
  return {
    handle,
    [Symbol.asyncDispose]: () => handle.close(),
  };
}
