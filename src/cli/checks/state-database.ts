/** Integrity of the state's database, while no vault has it open. */

import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fail, ok, type Patient, type Said, warn } from "./finding.ts";

/** Not imported: an old Node does not have it, and the rest of the command line runs there. */
function sqlite(): typeof import("node:sqlite") {
  return createRequire(import.meta.url)("node:sqlite");
}

const REPAIR = "run 'thornkey repair': it says what is lost and restores the rest";

/** Looks at a copy: to open a database can change it. */
export function lookIntoDatabase({ state, holder }: Patient): Said | undefined {
  const path = join(state, "vault.db");
  if (existsSync(join(state, "destroyed"))) return undefined;
  if (!existsSync(path)) {
    return existsSync(join(state, "header.copy"))
      ? fail("the database is gone, and a vault was here", REPAIR)
      : undefined;
  }
  if (holder !== undefined) return ok("the database is open, and looked at when the vault does not run");
  const folder = mkdtempSync(join(tmpdir(), "thornkey-doctor-"));
  try {
    const copy = join(folder, "copy.db");
    copyFileSync(path, copy);
    if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, `${copy}-wal`);
    const database = new (sqlite().DatabaseSync)(copy);
    try {
      const said = database
        .prepare("pragma quick_check(3)")
        .all()
        .map((row) => String(row.quick_check));
      if (said.join() !== "ok")
        return fail(`the database is damaged: ${said.join("; ").replaceAll("\n", " ")}`, REPAIR);
      const header = database.prepare("select value from meta where name = 'header'").get()?.value;
      if (!(header instanceof Uint8Array)) return fail("the database has no header", REPAIR);
      const second = join(state, "header.copy");
      const same = existsSync(second) && readFileSync(second).equals(header);
      return same
        ? ok("the database is whole, and its header's second copy is the same")
        : warn("the header's second copy is not the same", "the next start of the vault writes it anew");
    } finally {
      database.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EACCES") return warn("you may not read the database", "run this as root or as the vault's user");
    return fail(`the database cannot be read (${message})`, REPAIR);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
