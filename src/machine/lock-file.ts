import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { ThornkeyError } from "../errors.ts";
import { ERRNO, errnoName, libc } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes a lock that ends with this process, however it ends (flock(2)). The file stays: to remove it would let two take
 * the lock, each on a file of its own.
 *
 * @param path of a file; made when it does not exist; holds the number of the process while it is locked
 * @param what the lock is for, for the message: `the state in /var/lib/thornkey`
 * @returns what gives it back; may be repeated
 * @throws ThornkeyError `FAILED` when somebody holds it, this process included; `STATE_UNWRITABLE` when the file cannot
 *   be made or locked
 */
export function takeLock(path: string, what: string): () => void {
  let fd: number | undefined = open(path, what);
  if (libc().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const errno = libc().errno();
    const holder = holderIn(fd);
    closeSync(fd);
    if (errno !== ERRNO.EAGAIN) throw unusable(what, errnoName(errno));
    throw new ThornkeyError("FAILED", `${what} is in use${holder === undefined ? "" : ` by process ${holder}`}`, {
      hint: "only one vault may open it; end the other one first",
    });
  }
  try {
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`, 0);
  } catch {
    // On a full disk the lock holds all the same; its message will not name the holder.
  }
  return () => {
    if (fd === undefined) return;
    const held = fd;
    fd = undefined;
    try {
      ftruncateSync(held);
    } finally {
      closeSync(held);
    }
  };
}

function open(path: string, what: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  let fd: number;
  try {
    fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (cause) {
    throw unusable(what, (cause as NodeJS.ErrnoException).code ?? "", cause);
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw unusable(what, "its lock is not a file");
}

function holderIn(fd: number): string | undefined {
  const bytes = Buffer.alloc(16);
  return /^(\d{1,10})\n/.exec(bytes.toString("latin1", 0, readSync(fd, bytes, 0, bytes.length, 0)))?.[1];
}

function unusable(what: string, why: string, cause?: unknown): ThornkeyError {
  return new ThornkeyError("STATE_UNWRITABLE", `${what} cannot be locked (${why})`, {
    hint: "does the directory exist, is it yours, is its file system writable?",
    cause,
  });
}
