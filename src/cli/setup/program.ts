/** Node and this program, as units start them; and whether the vault's user gets there. */
import { statSync } from "node:fs";
import { dirname, isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { ThornkeyError } from "../../errors.ts";
import { mustBeNewEnough } from "../halves.ts";
import type { Program } from "./units.ts";

/** @throws ThornkeyError `USAGE` for a path that is not absolute */
export function installedProgram(given: { readonly node?: string; readonly program?: string }): Program {
  const own = fileURLToPath(new URL(`../main${import.meta.url.slice(-3)}`, import.meta.url));
  for (const path of [given.node, given.program]) {
    if (path !== undefined && !isAbsolute(path)) throw new ThornkeyError("USAGE", `${path} is no absolute path`);
  }
  if (given.node === undefined) mustBeNewEnough(process.versions.node);
  return { node: given.node ?? process.execPath, main: given.program ?? own };
}

/** What would keep the services from starting, as far as it can be seen here. */
export function concernsAbout({ node, main }: Program): readonly string[] {
  return [node, main].flatMap((path) => {
    const closed = closedTo(path);
    if (closed !== undefined)
      return [`${closed} lets no other user in, and so the vault's not to ${path}: install it elsewhere`];
    return /^\/(var\/)?tmp\//.test(path)
      ? [`${path} is not there for a unit with a /tmp of its own: install it elsewhere`]
      : [];
  });
}

/** @returns what is on the way to a file, or the file itself, that others may not read; undefined also when it is not here */
function closedTo(path: string): string | undefined {
  const folders: string[] = [];
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) folders.unshift(folder);
  const closed = folders.find((folder) => ((modeOf(folder) ?? 0o1) & 0o001) === 0);
  return closed ?? (((modeOf(path) ?? 0o4) & 0o004) === 0 ? path : undefined);
}

function modeOf(path: string): number | undefined {
  try {
    return statSync(path).mode;
  } catch {
    return undefined;
  }
}
