/**
 * What of a damaged journal holds, and what it proves of each record. Two ends are known: the beginning, and where the
 * sealed head says that it ends. What hangs together with the end is proved by it, also behind a gap.
 */
import { equal, toHex } from "../../bytes/bytes.ts";
import { hashOf, type JournalHead } from "../journal.ts";
import type { FoundLine } from "./salvage.ts";

export interface JournalEvidence {
  /** Lines from the first on, without a gap; the new journal begins with them. */
  readonly lines: readonly string[];
  /** Lines behind the first gap, and those that fit nowhere. */
  readonly aside: readonly string[];
  /** Whether nothing is missing up to where the head says that it ends. */
  readonly complete: boolean;
  readonly mentions: ReadonlyMap<string, Mention>;
  /** Whether the last that was said of it is that the vault is frozen, and why. */
  readonly frozen: { readonly since: number; readonly reason: string } | undefined;
  /** The newest policy of the device in what is proved. */
  readonly devicePolicy: unknown;
  /** The same of namespaces that were made and not deleted, by the ids of their records. */
  readonly namespaces: ReadonlyMap<string, unknown>;
}

/** What the journal says of one record. */
export interface Mention {
  /** The record is at least of this generation. */
  readonly generation: number;
  readonly deleted: boolean;
  /** The line that says so hangs together with the head. */
  readonly deletionProved: boolean;
  /** The last of it is proved, and so is that nothing comes after. */
  readonly proved: boolean;
  readonly name: string | undefined;
  readonly type: string | undefined;
  readonly resident: boolean;
  /** SubjectPublicKeyInfo in base64. */
  readonly publicKey: string | undefined;
  /** Of an object: how people know it. */
  readonly object: string | undefined;
}

interface Parsed {
  readonly line: string;
  readonly sequence: number;
  readonly previous: string;
  readonly hash: string;
  readonly entry: { readonly [field: string]: unknown };
}

const BEGINNING = "00".repeat(32);

/** After these a record is gone. */
const GONE: ReadonlySet<unknown> = new Set([
  "pin.reset",
  "key.deleted",
  "key.lost",
  "namespace.deleted",
  "object.deleted",
  "object.lost",
]);

/** @param end from the head; undefined when there is none */
export function journalEvidence(found: readonly FoundLine[], end: JournalHead | undefined): JournalEvidence {
  const all = found
    .flatMap(({ sequence, line }) => parse(sequence, line) ?? [])
    .sort((a, b) => a.sequence - b.sequence);
  const tail = end === undefined ? [] : backwards(all, end);
  const complete = end !== undefined && tail.length === end.sequence;
  const first = complete ? tail : forwards(all, end);
  const kept = new Set(first.map(({ line }) => line));
  const proved = new Set(tail);
  const mentions = new Map<string, Mention>();
  const namespaces = new Map<string, unknown>();
  let frozen: JournalEvidence["frozen"];
  let devicePolicy: unknown;
  for (const parsed of all) {
    const { kind, key, record, policy, namespace, time, text } = parsed.entry;
    const isProved = proved.has(parsed);
    // Anybody can write lines that hang together: what gives somebody rights must hang together with the head.
    if (kind === "device.changed" && isProved) devicePolicy = policy;
    if (kind === "vault.frozen") frozen = { since: Date.parse(String(time)), reason: String(text) };
    if (kind === "vault.thawed") frozen = undefined;
    const about = (key ?? record) as
      | { id?: unknown; name?: unknown; generation?: unknown; object?: unknown }
      | undefined;
    if (typeof about?.id !== "string" || typeof about.generation !== "number") continue;
    if (kind === "namespace.created" && isProved) namespaces.set(about.id, namespace);
    const before = mentions.get(about.id);
    const words = /\((\S+), (resident|wrapped)\)/.exec(String(text));
    mentions.set(about.id, {
      generation: Math.max(before?.generation ?? 0, about.generation),
      deleted: (before?.deleted ?? false) || GONE.has(kind),
      // Generation 0 says nothing of the record.
      deletionProved: (before?.deletionProved ?? false) || (isProved && GONE.has(kind)),
      proved: complete || (isProved && about.generation > 0) || (before?.proved ?? false),
      name: typeof about.name === "string" ? about.name : before?.name,
      type: words?.[1] ?? before?.type,
      resident: words?.[2] === "resident" || (before?.resident ?? false),
      publicKey: typeof parsed.entry.publicKey === "string" ? parsed.entry.publicKey : before?.publicKey,
      object: typeof about.object === "string" ? about.object : before?.object,
    });
    if (GONE.has(kind)) namespaces.delete(about.id);
  }
  return {
    lines: first.map(({ line }) => line),
    aside: found.map(({ line }) => line).filter((line) => !kept.has(line)),
    complete,
    mentions,
    frozen,
    devicePolicy,
    namespaces,
  };
}

function parse(sequence: number, line: string): Parsed | undefined {
  try {
    const entry = JSON.parse(line) as { [field: string]: unknown };
    const { previous, kind } = entry;
    if (entry.sequence !== sequence || typeof previous !== "string" || typeof kind !== "string") return undefined;
    return { line, sequence, previous, hash: toHex(hashOf(line)), entry };
  } catch {
    return undefined;
  }
}

/** What hangs together with the end, in order. */
function backwards(all: readonly Parsed[], end: JournalHead): Parsed[] {
  const byHash = new Map(all.map((parsed) => [parsed.hash, parsed]));
  const tail: Parsed[] = [];
  let hash = toHex(end.hash);
  for (let sequence = end.sequence; sequence > 0; sequence--) {
    const parsed = byHash.get(hash);
    if (parsed === undefined || parsed.sequence !== sequence) break;
    tail.push(parsed);
    hash = parsed.previous;
  }
  return tail.reverse();
}

/**
 * What hangs together with the beginning, up to the first that is wrong or missing. An entry holds when somebody names
 * its hash: the one after it, a checkpoint, or the head. One that nobody names may have been changed.
 */
function forwards(all: readonly Parsed[], end: JournalHead | undefined): Parsed[] {
  const at = new Map<number, Parsed[]>();
  const named = new Set(end === undefined ? [] : [toHex(end.hash)]);
  for (const parsed of all) {
    at.set(parsed.sequence, [...(at.get(parsed.sequence) ?? []), parsed]);
    named.add(parsed.previous);
    const { hash } = (parsed.entry.covers ?? {}) as { hash?: unknown };
    if (typeof hash === "string") named.add(hash);
  }
  const chain: Parsed[] = [];
  let previous = BEGINNING;
  for (let sequence = 1; ; sequence++) {
    const good = at.get(sequence)?.find((parsed) => parsed.previous === previous && named.has(parsed.hash));
    if (good === undefined) return chain;
    chain.push(good);
    previous = good.hash;
  }
}

/** @returns the entry up to which the kept lines are signed */
export function signedIn(lines: readonly string[]): number {
  const checkpoint = lines.findLast((line) => line.includes('"kind":"checkpoint"'));
  const { covers } = JSON.parse(checkpoint ?? "{}") as { covers?: { sequence?: number } };
  return covers?.sequence ?? 0;
}

/** @returns where kept lines end */
export function endOf(lines: readonly string[]): JournalHead {
  const last = lines.at(-1);
  const hash = last === undefined ? new Uint8Array(32) : hashOf(last);
  return { sequence: lines.length, hash, signed: signedIn(lines) };
}

/** @returns whether two ends are the same */
export function sameEnd(a: JournalHead, b: JournalHead): boolean {
  return a.sequence === b.sequence && equal(a.hash, b.hash);
}
