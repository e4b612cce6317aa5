/** Writes the repaired database: records, public parts, the journal and what is to be said in it, the head. */
import { join } from "node:path";
import { toHex, xor } from "../../bytes/bytes.ts";
import { encodeStrictly } from "../../operations/protocol.ts";
import { LOSSES, type RepairReport } from "../../operations/repair-report.ts";
import type { Namespace } from "../../operations/table.ts";
import type { Certification } from "../../roots/root.ts";
import { objectTitle } from "../handlers/objects.ts";
import { encodeHeader, type Header } from "../header.ts";
import { checkpoint, type Entry, type JournalHead, nextLine } from "../journal.ts";
import { FILES } from "../places.ts";
import { type KeyRecord, summaryOf } from "../records.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { emptyHead, type Head } from "../store/head.ts";
import type { Sealing } from "../store/sealing.ts";
import { isKey, KIND, namesIn, recordPlace, summaryPlace, writeHead } from "../store/state.ts";
import { endOf, type JournalEvidence, journalEvidence } from "./journal-evidence.ts";
import { carefully } from "./judge.ts";
import type { Plan } from "./plan.ts";

export interface Repaired {
  readonly header: Header;
  readonly sealing: Sealing;
  readonly plan: Plan;
  readonly journal: JournalEvidence;
  readonly head: Head | undefined;
  readonly report: RepairReport;
  readonly figures: ReadonlyMap<string, { readonly total: number; readonly last: number }>;
  /** What the root's counter will say. */
  readonly counter: number | undefined;
  readonly certify: ((statement: Uint8Array) => Promise<Certification>) | undefined;
  readonly boot: string;
  readonly now: () => number;
}

/** @returns once all is written, into {@link FILES.repairing}; SQLite's log is in it, and gone */
export async function writeRepaired(folder: string, repaired: Repaired): Promise<void> {
  const { boot, now, journal: evidence, certify, sealing, head } = repaired;
  const lines = [...evidence.lines];
  let end: JournalHead = endOf(lines);
  if (head !== undefined) end = { ...end, signed: Math.min(head.journal.signed, end.sequence) };
  const write = (entry: Entry) => {
    const next = nextLine(end, entry, now(), boot);
    lines.push(next.line);
    end = next.head;
  };
  for (const entry of entriesOf(repaired)) write(entry);
  if (certify !== undefined) {
    const covered = end;
    write(checkpoint(covered, await certify(covered.hash)));
    end = { ...end, signed: covered.sequence };
  }
  const database = openDatabase(join(folder, FILES.repairing));
  try {
    database.transaction(() => {
      database.meta.set("header", encodeHeader(repaired.header));
      const { sum, records } = writeRecords(database, repaired);
      for (const [index, line] of lines.entries()) database.journal.append(index + 1, line);
      writeHead(database, sealing, {
        ...emptyHead(repaired.counter),
        earlyBootEnded: head?.earlyBootEnded,
        frozen:
          head === undefined || repaired.report.rollbackAccepted ? (evidence.frozen ?? head?.frozen) : head.frozen,
        doomed: repaired.plan.doomed,
        sum,
        records,
        journal: end,
      });
    });
  } finally {
    database.close();
  }
}

function writeRecords(database: Database, { plan, sealing, figures, boot, now }: Repaired) {
  let sum: Uint8Array = new Uint8Array(32);
  let records = 0;
  const write = (kind: number, id: Uint8Array, generation: number, body: unknown, sealedBefore?: Uint8Array) => {
    let sealed = sealedBefore;
    if (sealed === undefined) {
      const plaintext = encodeStrictly(body);
      sealed = sealing.seal(recordPlace(kind, id, generation), plaintext);
      plaintext.fill(0);
    }
    const names = namesIn(kind, id, body);
    database.records.put({
      ...{ id, kind, generation, sealed },
      full: names && sealing.nameTag(names.full),
      bare: names && sealing.nameTag(`*/${names.bare}`),
      scope: names && sealing.nameTag(`${names.scope}/*`),
    });
    sum = xor(sum, sealing.rowTag(id, generation, sealed));
    records++;
    if (!isKey(kind)) return;
    const summary = encodeStrictly(summaryOf(body as KeyRecord));
    database.summaries.put(id, generation, sealing.seal(summaryPlace(id, generation), summary));
    const figure = figures.get(toHex(id));
    if (figure !== undefined) database.figures.put(id, figure.total, figure.last);
  };
  for (const { kind, id, generation, body, sealed } of plan.kept) write(kind, id, generation, body, sealed);
  for (const { kind, id, generation, body } of plan.careful) {
    write(kind, id, generation + 1, carefully(body as KeyRecord, boot, now()));
  }
  for (const { kind, id, generation, body } of plan.made) write(kind, id, generation, body);
  return { sum, records };
}

/** Keys named in one entry, at most; each has an entry of its own as well. */
const NAMED = 50;

/** What the journal says of it: so that whoever repairs again knows what must not come back. */
function entriesOf({ plan, report, journal }: Repaired): Entry[] {
  const lost = report.keys.filter(({ outcome }) => LOSSES.has(outcome));
  const { from, to } = report.journal.lost ?? {};
  const { rollbackAccepted } = report;
  const entries: Entry[] = [
    {
      kind: "vault.repaired",
      text: [
        "the state was repaired",
        ...(rollbackAccepted ? ["its owner accepted an old state"] : []),
        lost.length > 0 ? `${lost.length} keys are lost` : "no key is lost",
        from === undefined ? "the journal is whole" : `its journal from entry ${from} on is lost`,
      ].join("; "),
      details: {
        problems: report.problems.slice(0, NAMED),
        ...(from !== undefined && { lostEntries: { from, ...(to !== undefined && { to }) } }),
        lostKeys: lost.slice(0, NAMED).map(({ name }) => name),
        rollbackAccepted,
      },
    },
  ];
  const generations = new Map<string, number>();
  for (const { hex, generation } of plan.careful) generations.set(hex, generation + 1);
  for (const { hex, generation } of plan.kept) generations.set(hex, generation);
  for (const { id, generation } of plan.made) generations.set(toHex(id), generation);
  // What the lost part of the journal said is said again.
  const said = journalEvidence(
    journal.lines.map((line, index) => ({ sequence: index + 1, line })),
    endOf(journal.lines),
  ).mentions;
  for (const { id, name, outcome, why, type, protection, publicKey } of report.keys) {
    const generation = generations.get(id);
    const isSaid = generation === undefined ? said.get(id)?.deleted : said.get(id)?.generation === generation;
    if (isSaid && (outcome === "intact" || generation === undefined)) continue;
    entries.push({
      kind: generation === undefined ? "key.lost" : "key.repaired",
      text: `key ${name} (${type}, ${protection}): ${outcome}${why && `: ${why}`}`,
      key: { id, name, generation: generation ?? journal.mentions.get(id)?.generation ?? 1 },
      ...(publicKey !== undefined && { details: { publicKey } }),
    });
  }
  const reported = new Set(report.keys.map(({ id }) => id));
  for (const [id, { deleted, name, generation }] of journal.mentions) {
    if (!deleted || name === undefined || reported.has(id) || said.get(id)?.deleted) continue;
    entries.push({
      kind: "key.lost",
      text: `key ${name} was deleted before the repair`,
      key: { id, name, generation },
    });
  }
  for (const [id, { object, generation }] of journal.mentions) {
    if (object === undefined || generations.has(id) || said.get(id)?.deleted) continue;
    entries.push({ kind: "object.lost", text: `${object} is lost`, details: { record: { id, generation, object } } });
  }
  for (const { kind, id, generation, body } of [...plan.kept, ...plan.made]) {
    const record = { id: toHex(id), generation };
    if (isKey(kind) || said.get(record.id)?.generation === generation) continue;
    if (kind === KIND.object) {
      const object = objectTitle(body as Parameters<typeof objectTitle>[0]);
      entries.push({
        kind: "object.repaired",
        text: `${object} was restored`,
        details: { record: { ...record, object } },
      });
      continue;
    }
    entries.push(
      kind === KIND.namespace
        ? {
            kind: "namespace.created",
            text: `the namespace ${(body as Namespace).name} was restored`,
            details: { namespace: body, record },
          }
        : { kind: "device.changed", text: "the device's policy was restored", details: { policy: body, record } },
    );
  }
  return entries;
}
