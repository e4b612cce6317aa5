import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, realpathSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";

/** One fact of a host is never longer, in bytes. */
const FACT_BYTES = 4096;

/** A listing of many lines, such as the table of mounts, is never longer. */
export const LISTING_BYTES = 1 << 20;

/**
 * What a host tells about itself in files, below the directory that stands for `/`. Nothing here throws: what is
 * missing, unreadable, too long, no file at all, or outside the directory is absent.
 */
export interface HostFiles {
  /** @param maximum a longer file is absent; default 4096. @returns the file as it is, at least one byte */
  bytes(path: string, maximum?: number): Uint8Array | undefined;
  /** @returns the file as Latin-1, without the NUL and the white space at its ends; at least one character */
  text(path: string, maximum?: number): string | undefined;
  /** @returns names in a directory, sorted by their bytes */
  names(path: string): readonly string[];
  /** @returns who owns what is there, who may use it, and its size in bytes */
  stat(path: string): { mode: number; uid: number; gid: number; size: number } | undefined;
  /** @returns where a path leads when all links are followed, from the directory on: `sys/devices/…` */
  resolve(path: string): string | undefined;
}

/** @param root the directory that stands for `/`; links that lead out of it lead nowhere */
export function hostFiles(root: string): HostFiles {
  const files: HostFiles = {
    bytes(path, maximum = FACT_BYTES) {
      const inside = files.resolve(path);
      return inside === undefined ? undefined : attempt(() => readWhole(join(root, inside), maximum));
    },
    text(path, maximum) {
      const bytes = files.bytes(path, maximum);
      const text = bytes && Buffer.from(bytes).toString("latin1").replace(/\0+$/, "").trim();
      return text === "" ? undefined : text;
    },
    names(path) {
      const inside = files.resolve(path);
      const names = inside === undefined ? undefined : attempt(() => readdirSync(join(root, inside)));
      return names?.sort() ?? [];
    },
    stat(path) {
      const inside = files.resolve(path);
      const stats = inside === undefined ? undefined : attempt(() => statSync(join(root, inside)));
      return stats && { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, size: stats.size };
    },
    resolve: (path) =>
      attempt(() => {
        const inside = relative(realpathSync(root), realpathSync(join(root, path)));
        return inside === ".." || inside.startsWith(`..${sep}`) ? undefined : inside;
      }),
  };
  return files;
}

/** Files of /proc and /sys have no length before they are read. */
function readWhole(path: string, maximum: number): Uint8Array | undefined {
  // Looked at before it is opened: to open a device can have effects.
  if (!statSync(path).isFile()) return undefined;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    if (!fstatSync(fd).isFile()) return undefined;
    const bytes = new Uint8Array(maximum + 1);
    let length = 0;
    while (length <= maximum) {
      const read = readSync(fd, bytes, length, bytes.length - length, null);
      if (read === 0) break;
      length += read;
    }
    return length === 0 || length > maximum ? undefined : bytes.slice(0, length);
  } finally {
    closeSync(fd);
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
