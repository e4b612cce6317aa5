import { randomBytes } from "node:crypto";
import { type FileHandle, link, lstat, open, realpath, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ThornkeyError } from "../../errors.ts";

/** A file on its way: under another name, for its owner alone, until it is whole. */
export interface NewFile {
  readonly handle: FileHandle;
  /** Puts it in its place, on the disk. @throws ThornkeyError `FAILED` when something has come there meanwhile */
  place(): Promise<void>;
  /** Removes it, unless it is in its place; never throws. */
  discard(): Promise<void>;
}

/**
 * @param path where it will be
 * @param replace what is there now is replaced in the end; without it the place must be free
 * @throws ThornkeyError `FAILED` when the place is taken, or by what is no regular file; errors of the file system
 */
export async function newFile(path: string, replace: boolean): Promise<NewFile> {
  // A link keeps pointing to where it points.
  const target = replace ? await realpath(path).catch(() => path) : path;
  const there = await lstat(target).catch(() => undefined);
  if (there !== undefined && !there.isFile()) {
    throw new ThornkeyError("FAILED", `${path} is there, and no regular file`, {
      hint: "'-o -' writes to standard output",
    });
  }
  if (there !== undefined && !replace) throw taken(path);
  const folder = dirname(target);
  const temporary = join(folder, `.thornkey-${randomBytes(8).toString("hex")}.part`);
  const handle = await open(temporary, "wx", 0o600);
  let placed = false;
  return {
    handle,
    async place() {
      await handle.sync();
      if (replace) await rename(temporary, target);
      else await moveToFreePlace(temporary, target);
      placed = true;
      await handle.close();
      await syncFolder(folder);
    },
    async discard() {
      if (placed) return;
      await handle.close().catch(() => undefined);
      await rm(temporary, { force: true }).catch(() => undefined);
    },
  };
}

/** `rename` would replace what has come to `target` since it was looked at; `link` does not. */
async function moveToFreePlace(from: string, target: string): Promise<void> {
  try {
    await link(from, target);
    await rm(from);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") throw taken(target);
    // FAT and some network file systems have no links.
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
    if (await lstat(target).catch(() => undefined)) throw taken(target);
    await rename(from, target);
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch {
    // Not every file system syncs folders.
  } finally {
    await handle.close();
  }
}

function taken(path: string): ThornkeyError {
  return new ThornkeyError("FAILED", `${path} is there already`, { hint: "'--force' replaces it" });
}
