import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { ThornkeyError } from "../errors.ts";

/**
 * Writes a file whole or not at all: under another name first, on the disk, then in its place.
 *
 * @param mode default: only its owner reads it
 * @throws ThornkeyError `STATE_UNWRITABLE`
 */
export function writeAtomically(path: string, bytes: Uint8Array, mode = 0o600): void {
  const temporary = `${path}.${process.pid}.new`;
  try {
    const file = openSync(temporary, "w", mode);
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    const folder = openSync(dirname(path), "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new ThornkeyError(
      "STATE_UNWRITABLE",
      `${path} cannot be written (${(cause as NodeJS.ErrnoException).code})`,
      {
        hint: "is the disk full, or its file system read-only?",
        cause,
      },
    );
  }
}
