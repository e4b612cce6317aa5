/**
 * Which of the records that were found belong to the state. A record's seal proves what it is and of which generation;
 * that it is the newest, and was not deleted, is proved by the head (the sum over all records) or by the journal.
 */
import { equal, toHex, xor } from "../../bytes/bytes.ts";
import { decodeStrictly } from "../../operations/protocol.ts";
import type { KeyRecord } from "../records.ts";
import { counts } from "../restrictions.ts";
import type { Head } from "../store/head.ts";
import type { Sealing } from "../store/sealing.ts";
import { isKey, KIND, recordPlace } from "../store/state.ts";
import type { JournalEvidence, Mention } from "./journal-evidence.ts";
import type { FoundRecord } from "./salvage.ts";

export interface Candidate extends FoundRecord {
  readonly hex: string;
  readonly body: unknown;
}

export type Verdict =
  | { readonly outcome: "intact" }
  | { readonly outcome: "unproved" | "careful" | "left out"; readonly why: string };

export interface Judgement {
  readonly candidate: Candidate;
  readonly verdict: Verdict;
}

export interface Circumstances {
  readonly sealing: Sealing;
  /** The head of the state, if it is there and is the newest. */
  readonly head: Head | undefined;
  readonly headIsLoose: boolean;
  readonly journal: JournalEvidence;
  /** The newest generation of a record that its summary tells of, by id. */
  readonly summaries: ReadonlyMap<string, number>;
  /** Public keys in the root now, by handle: SubjectPublicKeyInfo. */
  readonly inRoot: ReadonlyMap<string, Uint8Array>;
  /** The state is old, and its owner knows. */
  readonly rollbackAccepted: boolean;
  /** Nothing that is not proved comes back. */
  readonly onlyProved: boolean;
  /** Ids, names or `all`: keys the owner vouches for. */
  readonly keep: readonly string[];
}

/** @returns records that open, with what they say */
export function openRecords(found: readonly FoundRecord[], sealing: Sealing): Candidate[] {
  return found.flatMap((record) => {
    try {
      const body = decodeStrictly(sealing.open(recordPlace(record.kind, record.id, record.generation), record.sealed));
      return [{ ...record, hex: toHex(record.id), body }];
    } catch {
      return []; // it was damaged, or belongs to another vault
    }
  });
}

/** One judgement for each record of which anything was found. */
export function judge(candidates: readonly Candidate[], facts: Circumstances): readonly Judgement[] {
  const choices = choicesOf(candidates, facts.headIsLoose);
  for (const choice of facts.head === undefined ? [] : choices) {
    const strangers = strangersIn(choice, facts.head as Head, facts);
    if (strangers === undefined) continue;
    return choice.map((candidate) => ({
      candidate,
      verdict: strangers.has(candidate)
        ? { outcome: "left out", why: "it does not belong to this state: it was deleted, or put there" }
        : { outcome: "intact" },
    }));
  }
  const [choice = []] = choices;
  const surplus = facts.head !== undefined && idsOf(choice, facts).size > facts.head.records;
  return choice.map((candidate) => ({ candidate, verdict: verdictOn(candidate, facts, surplus) }));
}

/**
 * Records that are there, by their own word, their second copy's, or the journal's. When there are more than there may be,
 * one of those that nothing proves was deleted.
 */
function idsOf(candidates: readonly Candidate[], { journal, summaries }: Circumstances): ReadonlySet<string> {
  const ids = new Set([...candidates.map(({ hex }) => hex), ...summaries.keys()]);
  for (const [id, { deleted }] of journal.mentions) {
    if (deleted) ids.delete(id);
    else ids.add(id);
  }
  return ids;
}

/** @returns whether all records that a head speaks of are here */
export function comesOut(
  candidates: readonly Candidate[],
  head: Head,
  facts: Pick<Circumstances, "sealing" | "journal" | "summaries" | "headIsLoose">,
): boolean {
  return choicesOf(candidates, facts.headIsLoose).some((choice) => strangersIn(choice, head, facts) !== undefined);
}

/** For each record the form SQLite reads, or the newest of all: with the first of them the head should come out. */
function choicesOf(candidates: readonly Candidate[], headIsLoose: boolean): readonly Candidate[][] {
  const committed = newest(candidates, ({ loose }) => !loose);
  const whatever = newest(candidates, () => false);
  return headIsLoose ? [whatever, committed] : [committed, whatever];
}

/** The newest form of each record; those that `preferred` holds for come first. */
function newest(candidates: readonly Candidate[], preferred: (candidate: Candidate) => boolean): Candidate[] {
  const chosen = new Map<string, Candidate>();
  for (const candidate of candidates) {
    const before = chosen.get(candidate.hex);
    const better =
      before === undefined ||
      (preferred(candidate) === preferred(before) ? candidate.generation > before.generation : preferred(candidate));
    if (better) chosen.set(candidate.hex, candidate);
  }
  return [...chosen.values()];
}

/** So many may be doubted at once: with more, more than one answer could fit. */
const MOST_DOUBTS = 160;

/**
 * The head has the exclusive or of the tags of all records. When all of them are here, and some that do not belong, the
 * difference is the exclusive or of the tags of just those: linear equations over one bit, 256 of them.
 *
 * @returns the records that do not belong; undefined when the sum does not come out, because one is missing
 */
function strangersIn(
  candidates: readonly Candidate[],
  head: Head,
  facts: Pick<Circumstances, "sealing" | "journal" | "summaries">,
): ReadonlySet<Candidate> | undefined {
  const tagOf = ({ id, generation, sealed }: Candidate) => facts.sealing.rowTag(id, generation, sealed);
  let difference: Uint8Array = head.sum;
  for (const candidate of candidates) difference = xor(difference, tagOf(candidate));
  const surplus = candidates.length - head.records;
  if (surplus < 0) return undefined;
  if (difference.every((byte) => byte === 0)) return surplus === 0 ? new Set() : undefined;
  const doubted = candidates.length <= MOST_DOUBTS ? candidates : candidates.filter((one) => isDoubtful(one, facts));
  if (doubted.length > MOST_DOUBTS) return undefined;
  const strangers = solve(doubted.map(tagOf), difference)?.map((index) => doubted[index] as Candidate);
  return strangers?.length === surplus ? new Set(strangers) : undefined;
}

function isDoubtful(
  candidate: Candidate,
  { journal, summaries }: Pick<Circumstances, "journal" | "summaries">,
): boolean {
  const mention = journal.mentions.get(candidate.hex);
  return mention === undefined || mention.deleted || !mention.proved || isOlder(candidate, mention, summaries);
}

/** @returns which of the vectors have the sum `target`, by elimination; undefined when none have */
function solve(vectors: readonly Uint8Array[], target: Uint8Array): readonly number[] | undefined {
  const rows: { vector: bigint; of: bigint; lead: bigint }[] = [];
  const number = (bytes: Uint8Array) => BigInt(`0x${toHex(bytes)}`);
  const reduced = (vector: bigint, of: bigint) => {
    for (const row of rows) {
      if ((vector & row.lead) === 0n) continue;
      vector ^= row.vector;
      of ^= row.of;
    }
    return { vector, of };
  };
  for (const [index, bytes] of vectors.entries()) {
    const { vector, of } = reduced(number(bytes), 1n << BigInt(index));
    if (vector !== 0n) rows.push({ vector, of, lead: 1n << BigInt(vector.toString(2).length - 1) });
  }
  const rest = reduced(number(target), 0n);
  if (rest.vector !== 0n) return undefined;
  return vectors.flatMap((_, index) => ((rest.of >> BigInt(index)) & 1n ? [index] : []));
}

/** In order; the first that says something decides. */
function verdictOn(candidate: Candidate, facts: Circumstances, surplus: boolean): Verdict {
  const mention = facts.journal.mentions.get(candidate.hex);
  if (mention?.deleted) return { outcome: "left out", why: "the journal says that it was deleted" };
  if (isOlder(candidate, mention, facts.summaries)) {
    return { outcome: "left out", why: "only an older form of it was found" };
  }
  if (!isKey(candidate.kind)) return settingVerdict(candidate, mention, facts);
  const key = candidate.body as KeyRecord;
  const limited = key.fixed.maximumUses !== undefined;
  const named = facts.keep.some(
    (name) => name === "all" || name === candidate.hex || name === `${key.scope}/${key.label}`,
  );
  if (key.handle !== undefined && !usedUp(key)) {
    const now = facts.inRoot.get(key.handle);
    if (now === undefined || key.publicKey === undefined || !equal(now, key.publicKey)) {
      return { outcome: "left out", why: "its place in the root holds another key: it was deleted" };
    }
  }
  if (facts.rollbackAccepted) {
    if (limited)
      return { outcome: "left out", why: "its uses are limited, and an old state does not know how many it had" };
    const inSilicon = key.handle !== undefined;
    if (!named && !inSilicon) {
      return { outcome: "left out", why: "it may have been deleted since; --keep brings it back" };
    }
    if (facts.onlyProved) return { outcome: "left out", why: "nothing of an old state is proved" };
    const why = inSilicon ? "its key is in the root, and its policy may have been changed since" : "you vouch for it";
    return { outcome: counts(key.fixed) ? "careful" : "unproved", why };
  }
  const proved = mention?.proved ?? false;
  if (proved && !countsUnwritten(key)) return { outcome: "intact" };
  if (proved) return { outcome: "careful", why: "its uses were not all found, and count as many as they may be" };
  if (facts.onlyProved) return { outcome: "left out", why: "it cannot be proved that this is its newest form" };
  if (!named && (limited || surplus || !facts.summaries.has(candidate.hex))) {
    const why = limited
      ? "its uses are limited, and it cannot be proved how many it had"
      : "it cannot be proved that it was not deleted, and some key was";
    return { outcome: "left out", why: `${why}; --keep brings it back` };
  }
  return {
    outcome: counts(key.fixed) ? "careful" : "unproved",
    why: "the journal is damaged: it cannot be proved that this is its newest form",
  };
}

function settingVerdict({ kind }: Candidate, mention: Mention | undefined, facts: Circumstances): Verdict {
  if (facts.rollbackAccepted && kind === KIND.device) {
    return { outcome: "left out", why: "administrators may have been taken away since; the usual policy holds" };
  }
  if (mention?.proved && !facts.rollbackAccepted) return { outcome: "intact" };
  if (facts.onlyProved) return { outcome: "left out", why: "it cannot be proved that this is its newest form" };
  return { outcome: "unproved", why: "it may have been changed since: look whom it names" };
}

function isOlder(
  { hex, generation }: Candidate,
  mention: Mention | undefined,
  summaries: Circumstances["summaries"],
): boolean {
  return generation < Math.max(mention?.generation ?? 0, summaries.get(hex) ?? 0);
}

/** Uses that change the record and leave no line in the journal. */
function countsUnwritten({ fixed, policy }: KeyRecord): boolean {
  return counts(fixed) && fixed.maximumUses === undefined && !policy.recordUses;
}

function usedUp({ fixed, uses }: KeyRecord): boolean {
  return fixed.maximumUses !== undefined && (uses?.total ?? 0) >= fixed.maximumUses;
}

/** @returns the record with its counts as high as they may be: usable again after the next start, or a while */
export function carefully(key: KeyRecord, boot: string, now: number): KeyRecord {
  const { uses, fixed } = key;
  return { ...key, uses: { total: uses?.total ?? 0, boot, thisBoot: fixed.maximumUsesPerBoot ?? 0, last: now } };
}
