import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";

/** A private file is a key, a PIN or the like. */
const PRIVATE_BYTES = 65_536;

/**
 * Writes a file whole or not at all: under another name in the same directory first, on the disk, then in its place.
 * Once this returns, loss of power does not undo it.
 *
 * @param mode exactly this, whatever the umask; default: only its owner reads it
 * @throws ThornkeyError `STATE_UNWRITABLE`; what was there before is there still
 */
export function writeAtomically(path: string, bytes: Uint8Array, mode = 0o600): void {
  const temporary = `${path}.${randomUUID()}.new`;
  try {
    withDescriptor(openSync(temporary, "wx", 0o600), (fd) => {
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
      fchmodSync(fd, mode);
      fsyncSync(fd);
    });
    renameSync(temporary, path);
    withDescriptor(openSync(dirname(path), "r"), fsyncSync);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new ThornkeyError("STATE_UNWRITABLE", `${path} cannot be written (${codeOf(cause)})`, {
      hint: "is the disk full, or its file system read-only?",
      cause,
    });
  }
}

/**
 * Reads a secret from a file that nobody but this user and root may read.
 *
 * @param options.maximumBytes a longer file is refused; default 65536
 * @returns its bytes; the caller destroys them
 * @throws ThornkeyError `FILE_NOT_FOUND`; `NOT_PERMITTED` when others may read or change it, when it belongs to somebody
 *   else, or when it may not be read; `MALFORMED` when it is no file, or too long
 */
export function readPrivateFile(path: string, options: { maximumBytes?: number } = {}): Secret {
  const maximum = options.maximumBytes ?? PRIVATE_BYTES;
  let fd: number;
  try {
    // Without waiting: a pipe that nobody writes to would be waited for.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    const code = codeOf(cause) === "ENOENT" ? "FILE_NOT_FOUND" : "NOT_PERMITTED";
    throw new ThornkeyError(code, `${path} cannot be read (${codeOf(cause)})`, { cause });
  }
  return withDescriptor(fd, () => {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new ThornkeyError("MALFORMED", `${path} is not a file`);
    if (stats.mode & 0o077) {
      throw new ThornkeyError("NOT_PERMITTED", `others may read or change ${path}`, { hint: `chmod 600 ${path}` });
    }
    if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) {
      throw new ThornkeyError("NOT_PERMITTED", `${path} belongs to somebody else`, {
        hint: "it must belong to root or to the user who runs this",
      });
    }
    const bytes = new Uint8Array(maximum + 1);
    try {
      let length = 0;
      while (length <= maximum) {
        const read = readSync(fd, bytes, length, bytes.length - length, null);
        if (read === 0) return new Secret(bytes.slice(0, length));
        length += read;
      }
      throw new ThornkeyError("MALFORMED", `${path} is longer than ${maximum} bytes`);
    } finally {
      bytes.fill(0);
    }
  });
}

function withDescriptor<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
