/** Whether a state is damaged at all, and where: for a person, and to leave alone what is whole. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { equal } from "../../bytes/bytes.ts";
import type { ThornkeyError } from "../../errors.ts";
import { LOSSES } from "../../operations/repair-report.ts";
import { encodeHeader, type Header } from "../header.ts";
import type { Head } from "../store/head.ts";
import type { JournalEvidence } from "./journal-evidence.ts";
import type { Plan } from "./plan.ts";
import type { Salvage } from "./salvage.ts";

/** @returns what is wrong, for a person; nothing when the state is whole */
export function problemsIn(
  found: Salvage,
  header: Header,
  plan: Plan,
  journal: JournalEvidence,
  head: Head | undefined,
  rollback: ThornkeyError | undefined,
): readonly string[] {
  const problems = [...sqliteProblems(found)];
  const encoded = encodeHeader(header);
  if (!equal(found.files.header, encoded)) problems.push("the copy of the header is damaged, or old");
  const fromDatabase = found.headers.filter((bytes) => bytes !== found.files.header);
  if (!fromDatabase.some((bytes) => equal(bytes, encoded))) problems.push("the header in the database is damaged");
  if (head === undefined) problems.push("the head of the state is lost");
  else if (rollback !== undefined) problems.push(rollback.message);
  const lost = plan.keys.filter(({ outcome }) => LOSSES.has(outcome)).length;
  if (lost > 0) problems.push(`${lost} keys are damaged, or do not belong to this state`);
  const unsure = plan.keys.filter(({ outcome }) => outcome === "unproved" || outcome === "careful").length;
  if (unsure > 0) problems.push(`of ${unsure} keys it is not proved that they are in their newest form`);
  if (plan.settings.some(({ outcome }) => outcome !== "intact")) problems.push("settings are damaged");
  if (plan.unknown > 0) problems.push(`${plan.unknown} records are lost, and nobody knows which`);
  if (!journal.complete) problems.push(`the journal is damaged from entry ${journal.lines.length + 1} on`);
  return problems;
}

/** Complaints of SQLite, at most. */
const COMPLAINTS = 10;

/** What SQLite itself says, of a copy: to look at a database can change it. */
function sqliteProblems({ files }: Salvage): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-repair-"));
  try {
    const path = join(folder, "copy.db");
    writeFileSync(path, files.database, { mode: 0o600 });
    if (files.log.length > 0) writeFileSync(`${path}-wal`, files.log, { mode: 0o600 });
    const database = new DatabaseSync(path);
    try {
      const rows = database.prepare(`pragma integrity_check(${COMPLAINTS})`).all() as { integrity_check: string }[];
      const said = rows.map((row) => String(row.integrity_check)).filter((line) => line !== "ok");
      if (said.length > 0) return [`the database is damaged: ${said.join("; ").replaceAll("\n", " ").slice(0, 400)}`];
      const pairs = database
        .prepare("select meta.name from meta left join spare using (name) where meta.value is not spare.value")
        .all();
      const rowsOfMeta = database.prepare("select count(*) as count from meta").get() as { count: number };
      return pairs.length > 0 || rowsOfMeta.count !== 2 ? ["one of the two copies of header and head is damaged"] : [];
    } finally {
      database.close();
    }
  } catch (error) {
    return [`the database cannot be read (${error instanceof Error ? error.message : String(error)})`];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
