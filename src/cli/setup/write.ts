/** Puts the files of a setup in their places, and nothing where they are already. */
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import { install, installedBy, uninstall } from "../programs/installed.ts";
import type { PlannedFile } from "../programs/recipe.ts";

const MODE = 0o644;

export function modeOf(mode = MODE): string {
  return `0${mode.toString(8)}`;
}

/**
 * @param to the folder that is taken as /
 * @param force also over files of others, which `--undo` then puts back
 * @returns the paths that were written or taken away; none when all is as planned
 * @throws ThornkeyError `ABORTED` for files that somebody else wrote, or changed since, and then nothing is changed;
 *   `STATE_UNWRITABLE`
 */
export function write(to: string, manifest: string, files: readonly PlannedFile[], force: boolean): readonly string[] {
  const before = installedBy(to, manifest)?.files.map(({ path }) => path) ?? [];
  const dropped = before.filter((path) => !files.some((file) => file.path === path));
  const stale = files.filter((file) => !isAsPlanned(to, file));
  const foreign = stale.map(({ path }) => path).filter((path) => !before.includes(path) && isThere(to, path));
  if (foreign.length > 0 && !force) {
    throw new ThornkeyError("ABORTED", `there already, and not written by setup: ${foreign.join(", ")}`, {
      hint: "--force writes over them; --undo then puts them back",
    });
  }
  if (stale.length === 0 && dropped.length === 0 && files.every(({ path }) => before.includes(path))) return [];
  // A rule that the hardware of before needed must not stay.
  if (dropped.length > 0) uninstall(to, manifest, force);
  install(to, manifest, files, force);
  return [...(dropped.length > 0 ? files.map(({ path }) => path) : stale.map(({ path }) => path)), ...dropped];
}

function isAsPlanned(to: string, { path, text, mode = MODE }: PlannedFile): boolean {
  const stats = lstatSync(join(to, path), { throwIfNoEntry: false });
  if (stats === undefined || !stats.isFile() || (stats.mode & 0o7777) !== mode) return false;
  return readFileSync(join(to, path), "utf8") === text;
}

function isThere(to: string, path: string): boolean {
  return lstatSync(join(to, path), { throwIfNoEntry: false }) !== undefined;
}
