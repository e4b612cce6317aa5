import { linkSync, readFileSync, realpathSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ThornkeyError } from "../errors.ts";

/**
 * Keeps a second emulator off a memory file, by a file next to it that names the process. One left behind by a process
 * that is gone does not count.
 *
 * @param path the memory file; its directory must exist
 * @throws ThornkeyError `FAILED` when a running process holds it; `FILE_NOT_FOUND` when there is no such directory
 */
export function takeFileLock(path: string): { release(): void } {
  const lock = `${resolved(path)}.lock`;
  const draft = `${lock}.${process.pid}`;
  const own = `${identity(process.pid)}\n`;
  writeFileSync(draft, own, { mode: 0o600 });
  try {
    // A link is made whole or not at all, so nobody ever reads half a lock.
    while (!linked(draft, lock)) clearStale(lock, path);
  } finally {
    unlinkSync(draft);
  }
  return { release: () => removed(lock) };
}

/** Process number and start time. */
const OWN_FORM = /^\d+ \d+\n$/;

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/** Removes a lock whose process is gone, and throws when it is not gone. */
function clearStale(lock: string, path: string): void {
  const seen = contentOf(lock);
  if (seen === undefined) return;
  // An empty one is what a power cut of the host can make of ours.
  if (seen !== "" && !OWN_FORM.test(seen)) {
    throw new ThornkeyError("FAILED", `${lock} is no lock of an emulator, but stands in the place of one.`, {
      hint: "Move it away, or name another memory file.",
    });
  }
  if (isRunning(seen)) throw inUse(path, seen);
  // Moved aside before it is removed: another emulator may have put its own lock there in the meantime.
  const aside = `${lock}.${process.pid}.stale`;
  try {
    renameSync(lock, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  const moved = contentOf(aside) ?? seen;
  if (moved !== seen && isRunning(moved)) {
    linked(aside, lock);
    removed(aside);
    throw inUse(path, moved);
  }
  removed(aside);
}

function inUse(path: string, holder: string): ThornkeyError {
  return new ThornkeyError("FAILED", `${path} is in use by process ${holder.split(" ")[0]?.trim()}.`, {
    hint: "Connect to the emulator that runs already, or name another memory file.",
  });
}

function isRunning(holder: string): boolean {
  const [pid = ""] = holder.split(" ");
  const current = identity(Number.parseInt(pid, 10));
  return current !== undefined && holder.trim() === current;
}

/** A process number and the start time of the process, as numbers are used again. */
function identity(pid: number): string | undefined {
  const status = contentOf(`/proc/${pid}/stat`);
  // Field 22; the fields are counted after the name, which ends with the last parenthesis.
  const startTime = status?.slice(status.lastIndexOf(")") + 2).split(" ")[19];
  return startTime === undefined ? undefined : `${pid} ${startTime}`;
}

/** Two names of one file must meet at one lock. */
function resolved(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch (cause) {
    throw new ThornkeyError("FILE_NOT_FOUND", `There is no directory ${dirname(path)} for ${path}.`, { cause });
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return undefined;
    throw error;
  }
}

function removed(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
