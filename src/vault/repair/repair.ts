/**
 * Repair of a damaged state: what can still be read is judged, written into a new database beside the old one, and put
 * into its place. Nothing of what was there is lost by it, and nothing that was deleted, used up or older comes back.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { writeAtomically } from "../../machine/atomic-file.ts";
import { readBootId, readHost } from "../../machine/host.ts";
import { takeLock } from "../../machine/lock-file.ts";
import type { RepairReport } from "../../operations/repair-report.ts";
import type { Counter, Root } from "../../roots/root.ts";
import { decodeHeader, encodeHeader, type Header, mustBeSigned, rootSecret } from "../header.ts";
import { mustNotBeDestroyed, openMaster, type VaultOptions } from "../open.ts";
import { BESIDE, FILES } from "../places.ts";
import { type OpenRoot, openRoot } from "../root-spec.ts";
import type { Head } from "../store/head.ts";
import { type Sealing, sealingUnder } from "../store/sealing.ts";
import { openHead } from "../store/state.ts";
import { copyAside, writeFindings } from "./aside.ts";
import { type Attend, mustBeAttended } from "./attended.ts";
import { declareRepaired, finishRepair } from "./finish.ts";
import { handlesIn, keysIn } from "./in-root.ts";
import { journalEvidence } from "./journal-evidence.ts";
import { comesOut, judge, openRecords } from "./judge.ts";
import { openSummaries, planOf } from "./plan.ts";
import { writeRepaired } from "./rebuild.ts";
import { type Salvage, salvage } from "./salvage.ts";
import { problemsIn } from "./sqlite-check.ts";

/** What a repair is asked for. */
export interface RepairOptions extends Omit<VaultOptions, "recovery"> {
  /** Only looks. */
  readonly dryRun: boolean;
  /** The owner knows that this is an old state, or that nobody can tell. */
  readonly acceptRollback: boolean;
  /** Nothing that is not proved comes back. */
  readonly onlyProved: boolean;
  /** Names with their scope, ids or `all`: keys the owner vouches for. */
  readonly keep: readonly string[];
  /** Has one of certain people sign; undefined when none of them is there. */
  readonly attend?: Attend | undefined;
  /** Is called before each step that changes the disk. */
  readonly step?: ((name: string) => void) | undefined;
}

/**
 * @throws ThornkeyError `FAILED` while the vault runs; `FILE_NOT_FOUND` when no vault was here; `DESTROYED`, `NOT_BOUND`,
 *   `TAMPERED`, `ROLLED_BACK`, `STATE_UNWRITABLE`, `ROOT_UNAVAILABLE`; `STATE_DAMAGED` when nothing opens any more
 */
export async function repairVault(options: RepairOptions): Promise<RepairReport> {
  const { state: folder } = options;
  if (!existsSync(join(folder, FILES.database)) && !existsSync(join(folder, FILES.header))) {
    await mustNotBeDestroyed(options);
    throw new ThornkeyError("FILE_NOT_FOUND", `there is no vault in ${folder}`, {
      hint: "--state names another place",
    });
  }
  const release = takeLock(join(folder, FILES.lock), `the state in ${folder}`);
  let root: OpenRoot | undefined;
  let opened: OpenedHeader | undefined;
  try {
    await mustNotBeDestroyed(options);
    finishRepair(folder);
    const found = salvage(folder);
    const headers = headersIn(found);
    root = await rootOf(headers, options);
    opened = await openHeader(headers, found, root.root, options);
    return await repairWith(options, found, opened, root);
  } finally {
    opened?.master.destroy();
    await root?.close().catch(() => {});
    release();
  }
}

async function repairWith(
  options: RepairOptions,
  found: Salvage,
  { header, sealing }: OpenedHeader,
  root: OpenRoot,
): Promise<RepairReport> {
  const { now = Date.now, step = () => {} } = options;
  const description = await root.root.describe();
  const counter = description.capabilities.counter ? await root.root.counter() : undefined;
  const { heads, rollback, counted } = await newestHeads(found, sealing, counter);
  if (rollback !== undefined && !options.acceptRollback) throw rollback;
  const rollbackAccepted = rollback !== undefined;

  const candidates = openRecords(found.records, sealing);
  const summaries = openSummaries(found.summaries, sealing);
  const generations = new Map(
    [...summaries].flatMap(([id, one]) => (one.loose ? [] : [[id, one.generation] as const])),
  );
  // The newest head with which all comes out; or else the newest that SQLite reads.
  const tried = [...heads.slice(0, MOST_HEADS), ...heads.slice(MOST_HEADS).filter((one) => !one.loose)];
  const whole = tried.find(({ head, loose }) => {
    const journal = journalEvidence(found.lines, head.journal);
    return (
      journal.complete && comesOut(candidates, head, { sealing, journal, summaries: generations, headIsLoose: loose })
    );
  });
  const { head, loose = false } = whole ?? heads.find((one) => !one.loose) ?? heads[0] ?? {};
  const journal = journalEvidence(found.lines, head?.journal);
  const inRoot = await keysIn(root.root, handlesIn(candidates, summaries));
  const current = rollbackAccepted ? undefined : head;
  const judgements = judge(candidates, {
    sealing,
    head: current,
    headIsLoose: loose,
    journal,
    summaries: generations,
    inRoot,
    rollbackAccepted,
    onlyProved: options.onlyProved,
    keep: options.keep,
  });
  const plan = planOf({ judgements, journal, summaries, inRoot, head, current, sealing, rollbackAccepted });
  const report: RepairReport = {
    device: header.device,
    problems: problemsIn(found, header, plan, journal, head, rollback, sealing),
    keys: plan.keys,
    settings: plan.settings,
    unknown: plan.unknown,
    journal: {
      kept: journal.lines.length,
      ...(!journal.complete && { lost: { from: journal.lines.length + 1, to: head?.journal.sequence } }),
      aside: journal.aside.length,
    },
    rollbackAccepted,
    repaired: false,
  };
  if (report.problems.length === 0 || options.dryRun) return report;
  await mustBeAttended(candidates, header.device, options.attend);

  step("copy");
  const aside = copyAside(options.state, now());
  step("findings");
  writeFindings(aside, journal, report);
  // What was under way when the state was last changed is finished, as a start does it.
  if (counter !== undefined && head?.counter === counted + 1) await counter.increment();
  step("write");
  clearRemains(options.state);
  const writing = writeRepaired(options.state, {
    header,
    sealing,
    plan,
    journal,
    head,
    report,
    figures: found.figures,
    counter: counter && Math.max(counted, rollbackAccepted ? 0 : (head?.counter ?? 0)) + 1,
    certify: description.capabilities.certify ? (statement) => root.root.certify(statement) : undefined,
    boot: readBootId(options.host),
    now,
  });
  await writing.catch((error) => {
    clearRemains(options.state);
    throw error;
  });
  step("declare");
  declareRepaired(options.state);
  step("replace");
  finishRepair(options.state);
  step("header");
  writeAtomically(join(options.state, FILES.header), encodeHeader(header));
  step("count");
  // The new state is one ahead; should this fail, the next start counts.
  await counter?.increment().catch(() => {});
  return { ...report, repaired: true, folder: aside };
}

/** A broken log can have hundreds; each costs a look at the whole journal. */
const MOST_HEADS = 8;

interface OpenedHeader {
  readonly header: Header;
  readonly master: Secret;
  readonly sealing: Sealing;
}

/** @throws ThornkeyError `STATE_DAMAGED` */
function headersIn(found: Salvage): readonly Header[] {
  const headers = found.headers.flatMap((bytes) => {
    try {
      return [decodeHeader(bytes)];
    } catch {
      return [];
    }
  });
  if (headers.length > 0) return headers;
  throw new ThornkeyError(
    "STATE_DAMAGED",
    "every copy of the vault's header is gone: nothing in this state opens any more",
    {
      hint: `put back a copy of the state, or of ${FILES.header} alone, and repair again`,
    },
  );
}

/** A damaged header may name a root that is not there. */
async function rootOf(headers: readonly Header[], options: RepairOptions): Promise<OpenRoot> {
  const roots = [...new Map(headers.map(({ root }) => [root.serial, root])).values()];
  const { root: specification, state, timing, openRoot: open = openRoot } = options;
  let failure: unknown;
  for (const expected of roots) {
    try {
      return await open(specification, { state, expected, timing });
    } catch (error) {
      if (!(error instanceof ThornkeyError) || error.code !== "NOT_BOUND") throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/**
 * The header that opens, is signed, and under whose master key the most opens.
 *
 * @throws ThornkeyError `NOT_BOUND`, `TAMPERED`
 */
async function openHeader(
  headers: readonly Header[],
  found: Salvage,
  root: Root,
  options: RepairOptions,
): Promise<OpenedHeader> {
  const host = await readHost(options.host);
  let [best, most]: [OpenedHeader | undefined, number] = [undefined, -1];
  let failure: unknown;
  for (const header of headers) {
    let master: Secret | undefined;
    try {
      using secret = await rootSecret(root, header.salt);
      master = openMaster(header, host, secret, undefined);
      const sealing = sealingUnder(master);
      mustBeSigned(header, sealing);
      const opens = headsIn(found, sealing).length * 1_000_000 + openRecords(found.records, sealing).length;
      if (opens > most) {
        best?.master.destroy();
        [best, most] = [{ header, master, sealing }, opens];
      } else master.destroy();
    } catch (error) {
      master?.destroy();
      if (!(error instanceof ThornkeyError)) throw error;
      failure ??= error;
    }
  }
  if (best === undefined) throw failure;
  return best;
}

function headsIn(found: Salvage, sealing: Sealing): { head: Head; loose: boolean }[] {
  return found.heads.flatMap(({ sealed, loose }) => {
    try {
      return [{ head: openHead(sealing, sealed), loose }];
    } catch {
      return [];
    }
  });
}

/**
 * Heads of the newest state, the newest first; and why it may not be the newest.
 *
 * @throws ThornkeyError `ROLLED_BACK` when the root is behind the state, which no owner can wish
 */
async function newestHeads(
  found: Salvage,
  sealing: Sealing,
  counter: Counter | undefined,
): Promise<{
  heads: readonly { head: Head; loose: boolean }[];
  rollback: ThornkeyError | undefined;
  counted: number;
}> {
  const counted = (await counter?.read()) ?? 0;
  const all = headsIn(found, sealing).sort((a, b) => b.head.journal.sequence - a.head.journal.sequence);
  // A change is written before the root counts it.
  const fitting = all.filter(
    ({ head: { counter: known = 0 } }) => counter === undefined || counted === known || counted === known - 1,
  );
  if (fitting.length > 0) return { heads: fitting, rollback: undefined, counted };
  const [best] = all;
  const known = best?.head.counter ?? 0;
  if (known > counted) {
    throw new ThornkeyError(
      "ROLLED_BACK",
      `the state counts ${known} changes and the root only ${counted}: the root is not the one it was used with`,
      { hint: "put back the root's own memory; a repair cannot help" },
    );
  }
  const why =
    best === undefined
      ? "the head of the state is lost: nobody can tell whether this is the newest state or an old copy"
      : `this is an old copy of the state, or its newest changes are lost: it knows ${known} of the ${counted} changes that the root has counted`;
  return { heads: all, rollback: new ThornkeyError("ROLLED_BACK", why, { hint: OLD_STATE }), counted };
}

const OLD_STATE =
  "put back the newest copy of the state; only if there is none: --accept-rollback, which brings back what the root itself holds and what --keep names";

/** What a repair that was interrupted left. */
function clearRemains(folder: string): void {
  for (const name of ["", ...BESIDE]) rmSync(join(folder, `${FILES.repairing}${name}`), { force: true });
}
