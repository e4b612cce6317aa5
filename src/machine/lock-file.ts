import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { ThornkeyError } from "../errors.ts";
import { libc } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes a lock that ends with this process, however it ends (flock(2)).
 *
 * @param path of a file; made when it does not exist
 * @param what the lock is for, for the message
 * @returns what gives it back
 * @throws ThornkeyError `FAILED` when somebody holds it, `STATE_UNWRITABLE` when the file cannot be made
 */
export function takeLock(path: string, what: string): () => void {
  let fd: number;
  try {
    fd = openSync(path, "a+", 0o600);
  } catch (cause) {
    throw new ThornkeyError("STATE_UNWRITABLE", `${what} cannot be opened (${(cause as NodeJS.ErrnoException).code})`, {
      hint: "does the directory exist, is it yours, is its file system writable?",
      cause,
    });
  }
  if (libc().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const holder = readFileSync(path, "latin1").trim().slice(0, 20);
    closeSync(fd);
    throw new ThornkeyError("FAILED", `${what} is in use${holder ? ` by process ${holder}` : ""}`, {
      hint: "only one vault may open it; end the other one first",
    });
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  return () => closeSync(fd);
}
