/** Whether a state is damaged at all, and where: for a person, and to leave alone what is whole. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { equal, toHex } from "../../bytes/bytes.ts";
import type { ThornkeyError } from "../../errors.ts";
import { LOSSES } from "../../operations/repair-report.ts";
import { encodeHeader, type Header } from "../header.ts";
import { openDatabase } from "../store/database.ts";
import type { Head } from "../store/head.ts";
import type { Sealing } from "../store/sealing.ts";
import { isKey, namesIn, summaryPlace } from "../store/state.ts";
import type { JournalEvidence } from "./journal-evidence.ts";
import type { Candidate } from "./judge.ts";
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
  sealing: Sealing,
): readonly string[] {
  const problems = [...sqliteProblems(found, (database) => differences(database, plan, journal, sealing))];
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
function sqliteProblems(
  { files }: Salvage,
  differences: (database: DatabaseSync) => readonly string[],
): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-repair-"));
  try {
    const path = join(folder, "copy.db");
    writeFileSync(path, files.database, { mode: 0o600 });
    if (files.log.length > 0) writeFileSync(`${path}-wal`, files.log, { mode: 0o600 });
    // As the vault does it: some damage shows only to who wants to write.
    openDatabase(path).close();
    const database = new DatabaseSync(path);
    try {
      const rows = database.prepare(`pragma integrity_check(${COMPLAINTS})`).all() as { integrity_check: string }[];
      const said = rows.map((row) => String(row.integrity_check)).filter((line) => line !== "ok");
      if (said.length > 0) return [`the database is damaged: ${said.join("; ").replaceAll("\n", " ").slice(0, 400)}`];
      const pairs = database
        .prepare("select meta.name from meta left join spare using (name) where meta.value is not spare.value")
        .all();
      const rowsOfMeta = database.prepare("select count(*) as count from meta").get() as { count: number };
      const spare = pairs.length > 0 || rowsOfMeta.count !== 2;
      return [...(spare ? ["one of the two copies of header and head is damaged"] : []), ...differences(database)];
    } finally {
      database.close();
    }
  } catch (error) {
    return [`the database cannot be read (${error instanceof Error ? error.message : String(error)})`];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What lies somewhere in the file helps only when it is also what SQLite reads. */
function differences(
  database: DatabaseSync,
  plan: Plan,
  journal: JournalEvidence,
  sealing: Sealing,
): readonly string[] {
  const problems: string[] = [];
  const lines = database.prepare("select sequence, line from journal order by sequence").all();
  const sameLines =
    lines.length === journal.lines.length &&
    lines.every(({ sequence, line }, index) => sequence === index + 1 && line === journal.lines[index]);
  if (!sameLines) problems.push("the journal in the database is not the one that holds");
  const records = new Map(
    database
      .prepare("select * from records")
      .all()
      .map((row) => [toHex(row.id as Uint8Array), row]),
  );
  const summaries = new Map(
    database
      .prepare("select * from summaries")
      .all()
      .map((row) => [toHex(row.id as Uint8Array), row]),
  );
  const recordFits = ({ hex, id, kind, generation, sealed, body }: Candidate) => {
    const row = records.get(hex);
    if (row?.kind !== kind || row.generation !== generation || !equal(row.sealed as Uint8Array, sealed)) return false;
    const names = namesIn(kind, id, body);
    const tags = names && [names.full, `*/${names.bare}`, `${names.scope}/*`].map((name) => sealing.nameTag(name));
    const stored = [row.full, row.bare, row.scope] as (Uint8Array | null)[];
    return stored.every((tag, index) =>
      tags === null ? tag === null : tag !== null && equal(tag, tags[index] ?? tag),
    );
  };
  const summaryFits = ({ hex, id, kind, generation }: Candidate) => {
    const row = summaries.get(hex);
    if (!isKey(kind)) return row === undefined;
    try {
      if (row?.generation !== generation) return false;
      sealing.open(summaryPlace(id, generation), row.sealed as Uint8Array);
      return true;
    } catch {
      return false;
    }
  };
  if (records.size !== plan.kept.length || !plan.kept.every(recordFits))
    problems.push("records in the database are damaged");
  const keys = plan.kept.filter(({ kind }) => isKey(kind)).length;
  if (summaries.size !== keys || !plan.kept.every(summaryFits))
    problems.push("second copies of public parts are damaged");
  return problems;
}
