/**
 * Locking and unlocking of files: `FILE` becomes `FILE.age` and back, and the original stays, as with `gzip --keep`.
 * What is made appears in its place only when it is whole, and on the disk. Whatever fails, the original is as it was,
 * and where the new file would have been there is nothing, or what was there before.
 */
import { randomBytes } from "node:crypto";
import { ThornkeyError } from "../../errors.ts";
import { beginsArmored } from "./armor.ts";
import { translated } from "./failures.ts";
import { type FileKeyOpener, NONCE_BYTES, openFileKey, payloadCipher } from "./file-key.ts";
import { headerLength, MAXIMUM_HEADER, parseHeader } from "./header.ts";
import { openFile, sealFile } from "./lanes.ts";
import { type NewFile, newFile } from "./new-file.ts";
import { throwIfAborted } from "./puller.ts";
import { newHeader } from "./recipients.ts";
import { changing, type FileOptions, openSource, type Seekable, STANDARD } from "./source.ts";
import { unlockToStandard, writeTo } from "./standard-output.ts";
import { cutOrChanged, decrypt, encrypt } from "./stream.ts";
import { inBackground, inThisThread } from "./whole.ts";

export interface LockOptions extends FileOptions {
  /** `age1…`, `age1tag1…`, `age1tagpq1…`; at least one. */
  readonly recipients: readonly string[];
}

export interface UnlockOptions extends FileOptions {
  readonly open: FileKeyOpener;
}

const EXTENSION = ".age";

/**
 * Locks a file. It must not change meanwhile.
 *
 * @param input a path, or `-`
 * @param output a path, or `-`; without it the input's with `.age` behind it, or `-` for `-`
 * @returns where it went
 * @throws ThornkeyError `USAGE`; `FILE_NOT_FOUND`; `NOT_PERMITTED` by the file system; `FAILED` when the place is taken,
 *   the disk is full, the input changed; `ABORTED`
 */
export function lockFile(input: string, output: string | undefined, options: LockOptions): Promise<{ output: string }> {
  const place = output ?? (input === STANDARD ? STANDARD : input + EXTENSION);
  return translated(async () => {
    throwIfAborted(options.signal);
    await using source = await openSource(input, options);
    if (place === STANDARD) {
      await writeTo(options, (recycle) =>
        encrypt(source.stream(), options.recipients, { signal: options.signal, recycle }),
      );
    } else {
      await intoNewFile(place, options, async (target) => {
        if (source.seekable) await lockSeekable(source.seekable, target, options);
        else await writeAll(target, encrypt(source.stream(), options.recipients, { ...options, recycle: true }));
      });
    }
    return { output: place };
  });
}

/**
 * Unlocks a file, binary or armored. To standard output nothing goes before all of it is known to be authentic: small
 * files wait in memory, larger ones are read twice; and what comes from a pipe waits, still locked, in a temporary file
 * without a name. So the plain text is never anywhere but where it is wanted.
 *
 * @param input a path, or `-`
 * @param output a path, or `-`; without it the input's without its `.age`, or `-` for `-`
 * @returns where it went. The file is for its owner alone (mode 0600)
 * @throws ThornkeyError as {@link lockFile}, and `NOT_PERMITTED` when it is not locked to us, `MALFORMED` when it is no
 *   age file or was cut short or changed, and what `open` throws
 */
export function unlockFile(
  input: string,
  output: string | undefined,
  options: UnlockOptions,
): Promise<{ output: string }> {
  return translated(async () => {
    const place = output ?? unlockedName(input);
    throwIfAborted(options.signal);
    await using source = await openSource(input, options);
    if (place === STANDARD) await unlockToStandard(source, options);
    else {
      await intoNewFile(place, options, async (target) => {
        if (source.seekable && (await unlockSeekable(source.seekable, target, options))) return;
        await writeAll(target, decrypt(source.stream(), options.open, { ...options, recycle: true }));
      });
    }
    return { output: place };
  });
}

function unlockedName(input: string): string {
  if (input === STANDARD) return STANDARD;
  const name = input.slice(0, -EXTENSION.length);
  if (input.endsWith(EXTENSION) && name !== "" && !name.endsWith("/")) return name;
  throw new ThornkeyError("USAGE", `${input} does not end in ${EXTENSION}, so what comes out of it has no name`, {
    hint: "'-o OUT' says where it goes, '-o -' to standard output",
  });
}

async function lockSeekable(
  source: Seekable,
  target: NewFile,
  { recipients, blocking, signal, onProgress }: LockOptions,
) {
  const { header, fileKey } = await newHeader(recipients);
  using secret = fileKey;
  const nonce = randomBytes(NONCE_BYTES);
  const front = Buffer.concat([header, nonce]);
  await inBackground.write(target.handle, front, 0);
  const cipher = payloadCipher(secret, nonce);
  try {
    const onDone = (done: number) => onProgress?.({ done, total: source.size });
    const output = { file: target.handle, from: front.length };
    const access = blocking ? inThisThread : inBackground;
    await sealFile(cipher, { file: source.handle, from: 0 }, source.size, output, { access, signal, onDone });
  } finally {
    cipher.close();
  }
  const { size, mtimeMs } = await source.handle.stat();
  if (size !== source.size || mtimeMs !== source.changed) throw changing(source.path);
}

/** @returns false for an armored file, which is to be read as a stream */
async function unlockSeekable(
  source: Seekable,
  target: NewFile,
  { open, blocking, signal, onProgress }: UnlockOptions,
) {
  const start = Buffer.alloc(Math.min(source.size, MAXIMUM_HEADER + NONCE_BYTES));
  if (!(await inBackground.read(source.handle, start, 0))) throw changing(source.path);
  if (beginsArmored(start)) return false;
  const headerEnd = headerLength(start);
  const from = (headerEnd ?? 0) + NONCE_BYTES;
  const length = source.size - from;
  if (headerEnd === undefined || length < 0) throw cutOrChanged();
  using fileKey = await openFileKey(parseHeader(start.subarray(0, headerEnd)), open, signal);
  const cipher = payloadCipher(fileKey, start.subarray(headerEnd, from));
  try {
    const onDone = (done: number) => onProgress?.({ done: from + done, total: source.size });
    const access = blocking ? inThisThread : inBackground;
    const output = { file: target.handle, from: 0 };
    await openFile(cipher, { file: source.handle, from }, length, output, { access, signal, onDone });
  } finally {
    cipher.close();
  }
  return true;
}

async function intoNewFile(
  path: string,
  { force = false, signal }: FileOptions,
  fill: (target: NewFile) => Promise<void>,
) {
  const target = await newFile(path, force);
  try {
    await fill(target);
    throwIfAborted(signal);
    await target.place();
  } finally {
    await target.discard();
  }
}

async function writeAll({ handle }: NewFile, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of pieces) await inBackground.write(handle, piece);
}
