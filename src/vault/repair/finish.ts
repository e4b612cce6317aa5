/**
 * How a repaired database takes the place of the damaged one. From the moment a file has the name
 * {@link FILES.repaired} it is whole and on the disk, and whoever comes next, a start or a repair, goes on from there.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import { BESIDE, FILES } from "../places.ts";

/** Says that a database which was written is whole: this is the instant that decides. */
export function declareRepaired(folder: string): void {
  const path = join(folder, FILES.repairing);
  onDisk(path);
  renameSync(path, join(folder, FILES.repaired));
  onDisk(folder);
}

/**
 * Puts a repaired database into its place, if there is one. May be interrupted, and done again.
 *
 * @throws ThornkeyError `STATE_UNWRITABLE`
 */
export function finishRepair(folder: string): void {
  const repaired = join(folder, FILES.repaired);
  if (!existsSync(repaired)) return;
  const path = join(folder, FILES.database);
  try {
    // Before the rename: the log of the other database must never meet this one.
    for (const beside of BESIDE) rmSync(`${path}${beside}`, { force: true });
    onDisk(folder);
    renameSync(repaired, path);
    onDisk(folder);
  } catch (cause) {
    throw new ThornkeyError("STATE_UNWRITABLE", "the repaired database cannot be put into its place", {
      hint: "is the file system read-only? The next start goes on",
      cause,
    });
  }
}

function onDisk(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
