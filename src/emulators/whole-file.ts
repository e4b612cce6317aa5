import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Writes a memory file as a whole, under another name first: a power cut leaves the old file or the new one. Whoever writes
 * holds the lock of `file-lock.ts`, so there is one draft at a time.
 */
export function writeWholeFile(path: string, bytes: Uint8Array): void {
  const draft = `${path}.thornkey-new`;
  rmSync(draft, { force: true });
  const file = openSync(draft, "wx", 0o600);
  try {
    writeFileSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  const directory = openSync(dirname(path), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
