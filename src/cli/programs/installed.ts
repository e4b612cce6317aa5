/**
 * Puts the files of a use in their places and takes them away again. What was there before is kept in a manifest beside
 * them, so that nothing is lost and everything can be put back as it was.
 */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import { writeAtomically } from "../../machine/atomic-file.ts";
import type { PlannedFile } from "./recipe.ts";

/** A file as it was before; its bytes in base64. */
interface Before {
  readonly content: string;
  readonly mode: number;
}

interface InstalledFile {
  /** As the program knows it, without the folder that is taken as /. */
  readonly path: string;
  /** Of what was written. */
  readonly sha256: string;
  readonly before: Before | null;
}

export interface Manifest {
  readonly files: readonly InstalledFile[];
  /** Folders that were made for them, the outermost first. */
  readonly folders: readonly string[];
}

const MODE = 0o644;

/**
 * Writes all files, each whole or not at all, and then the manifest. What a manifest of the same place says was there
 * before stays what was there before.
 *
 * @param to the folder that is taken as /
 * @param manifestPath below it
 * @param force also over files that somebody changed since an earlier use wrote them
 * @throws ThornkeyError `ABORTED` when there are such files, and then nothing is written; `STATE_UNWRITABLE`, and then
 *   what was written is taken away again
 */
export function install(to: string, manifestPath: string, files: readonly PlannedFile[], force: boolean): Manifest {
  const known = manifestsIn(to, dirname(manifestPath));
  const written = [...known.values()].flatMap((other) => other.files);
  mustBeAsWritten(
    to,
    written.filter(({ path }) => files.some((file) => file.path === path)),
    force,
  );
  const previous = known.get(manifestPath);
  const folders: string[] = [...(previous?.folders ?? [])];
  const done: InstalledFile[] = [];
  const manifest = { files: done, folders };
  try {
    for (const file of files) {
      const bytes = new TextEncoder().encode(file.text);
      const recorded = written.find(({ path }) => path === file.path);
      const before = recorded === undefined ? whatIsAt(to, file.path) : recorded.before;
      makeFolders(to, dirname(file.path), folders, known);
      writeAtomically(join(to, file.path), bytes, file.mode ?? MODE);
      done.push({ path: file.path, sha256: digestOf(bytes), before });
    }
    // What an earlier plan wrote and this one does not, this one's undo still puts back.
    const dropped = (previous?.files ?? []).filter(({ path }) => !done.some((file) => file.path === path));
    done.push(...dropped);
    makeFolders(to, dirname(manifestPath), folders, known);
    writeAtomically(join(to, manifestPath), new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 2)}\n`));
  } catch (error) {
    if (previous === undefined) takeAway(to, manifest, new Set(filesOf(known, manifestPath)));
    throw error;
  }
  return manifest;
}

/**
 * @param force also files that somebody changed since
 * @returns the paths that are as they were before
 * @throws ThornkeyError `FILE_NOT_FOUND` when nothing was written; `ABORTED` when somebody changed a file, and then
 *   nothing is undone
 */
export function uninstall(to: string, manifestPath: string, force: boolean): readonly string[] {
  const known = manifestsIn(to, dirname(manifestPath));
  const manifest = known.get(manifestPath);
  if (manifest === undefined) {
    throw new ThornkeyError("FILE_NOT_FOUND", `nothing to undo: ${join(to, manifestPath)} is not there`);
  }
  const others = new Set(filesOf(known, manifestPath));
  const mine = manifest.files.filter(({ path }) => !others.has(path));
  mustBeAsWritten(to, mine, force);
  rmSync(join(to, manifestPath));
  takeAway(to, manifest, others);
  return mine.map(({ path }) => path);
}

/** @returns what an earlier use of this manifest wrote. @throws ThornkeyError `MALFORMED` */
export function installedBy(to: string, manifestPath: string): Manifest | undefined {
  const path = join(to, manifestPath);
  return existsSync(path) ? readManifest(path) : undefined;
}

/** @throws ThornkeyError `ABORTED` for files that are there and that somebody changed, unless forced */
function mustBeAsWritten(to: string, files: readonly InstalledFile[], force: boolean): void {
  if (force) return;
  const paths = [...new Set(files.map(({ path }) => path))];
  const changed = paths.filter((path) => {
    const now = whatIsAt(to, path);
    const digest = now === null ? undefined : digestOf(Buffer.from(now.content, "base64"));
    return !files.some((file) => file.path === path && file.sha256 === digest); // any of several uses wrote it
  });
  if (changed.length === 0) return;
  throw new ThornkeyError("ABORTED", `changed or removed since it was written: ${changed.join(", ")}`, {
    hint: "--force does it all the same",
  });
}

/** @param others paths that somebody else's use still needs */
function takeAway(to: string, { files, folders }: Manifest, others: ReadonlySet<string>): void {
  for (const { path, before } of files) {
    if (others.has(path)) continue;
    if (before === null) rmSync(join(to, path), { force: true });
    else writeAtomically(join(to, path), Buffer.from(before.content, "base64"), before.mode);
  }
  for (const folder of [...folders].reverse()) {
    const path = join(to, folder);
    if (existsSync(path) && readdirSync(path).length === 0) rmdirSync(path);
  }
}

function filesOf(known: ReadonlyMap<string, Manifest>, except: string): string[] {
  return [...known].filter(([path]) => path !== except).flatMap(([, { files }]) => files.map(({ path }) => path));
}

/** @returns every manifest of a folder, by its path; one that cannot be read is an error, or its files would be lost */
function manifestsIn(to: string, folder: string): Map<string, Manifest> {
  const found = new Map<string, Manifest>();
  if (!existsSync(join(to, folder))) return found;
  for (const name of readdirSync(join(to, folder))) {
    if (name.endsWith(".json")) found.set(join(folder, name), readManifest(join(to, folder, name)));
  }
  return found;
}

function readManifest(path: string): Manifest {
  const malformed = () => new ThornkeyError("MALFORMED", `${path} is not what was written there`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    throw malformed();
  }
  const { files, folders } = (value ?? {}) as Partial<Manifest>;
  const isFile = ({ path, sha256, before }: InstalledFile) =>
    typeof path === "string" &&
    typeof sha256 === "string" &&
    (before === null || (typeof before.content === "string" && Number.isInteger(before.mode)));
  if (!Array.isArray(files) || !files.every(isFile)) throw malformed();
  if (!Array.isArray(folders) || !folders.every((folder) => typeof folder === "string")) throw malformed();
  return { files, folders };
}

function whatIsAt(to: string, path: string): Before | null {
  const whole = join(to, path);
  const stats = lstatSync(whole, { throwIfNoEntry: false });
  if (stats === undefined) return null;
  if (!stats.isFile()) throw new ThornkeyError("ABORTED", `${whole} is no plain file, and is left alone`);
  return { content: readFileSync(whole).toString("base64"), mode: stats.mode & 0o7777 };
}

/** @param made gets every folder on the way that was not there before anybody's use, the outermost first */
function makeFolders(to: string, folder: string, made: string[], known: ReadonlyMap<string, Manifest>): void {
  if (dirname(folder) === folder) return;
  makeFolders(to, dirname(folder), made, known);
  const there = existsSync(join(to, folder));
  if (!there) mkdirSync(join(to, folder), { mode: 0o755 });
  const ours = !there || [...known.values()].some(({ folders }) => folders.includes(folder));
  if (ours && !made.includes(folder)) made.push(folder);
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
