import { randomBytes } from "node:crypto";
import { equal, toHex, xor } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { decodeStrictly, encodeStrictly } from "../../operations/protocol.ts";
import type { VaultEvent } from "../../operations/table.ts";
import type { Counter } from "../../roots/root.ts";
import { type Entry, eventOf, hashOf, nextLine } from "../journal.ts";
import { type Database, REPAIR_HINT, type StoredRow } from "./database.ts";
import { type DoomedKey, decodeHead, emptyHead, encodeHead, type Head } from "./head.ts";
import type { Sealing } from "./sealing.ts";

/** What a record is. The number is stored. */
export const KIND = { key: 1, device: 2, namespace: 3, resident: 4, object: 5 } as const;

export function isKey(kind: number): boolean {
  return kind === KIND.key || kind === KIND.resident;
}
export type Kind = (typeof KIND)[keyof typeof KIND];

/** A record as it lies in the state, opened. */
export interface OpenRecord {
  readonly id: Uint8Array;
  readonly kind: number;
  /** Goes up with every change of the record. */
  readonly generation: number;
  readonly body: unknown;
}

/** Under what a record can be found. */
export interface RecordNames {
  /** With its scope; only one record has it. */
  readonly full: string;
  /** Without its scope. */
  readonly bare: string;
  readonly scope: string;
}

/** One change, inside a transaction that others may share. What it throws undoes it, and it alone. */
export interface Change {
  readonly head: Head;
  get(id: Uint8Array): OpenRecord | undefined;
  byName(full: string): OpenRecord | undefined;
  countScope(scope: string): number;
  ofKind(kind: Kind): readonly OpenRecord[];
  /**
   * @param summary what must survive damage of the record: kept a second time
   * @returns the new generation
   * @throws ThornkeyError `KEY_EXISTS` when another record has the name
   */
  put(kind: Kind, id: Uint8Array, names: RecordNames | undefined, body: unknown, summary?: unknown): number;
  remove(id: Uint8Array): void;
  journal(entry: Entry): void;
  setHead(fields: Partial<Pick<Head, "frozen" | "earlyBootEnded">>): void;
  /** A key in the root has no right to be there any more. Stays written until {@link Change.overwritten}. */
  doom(key: DoomedKey): void;
  overwritten(id: string): void;
  signedUpTo(sequence: number): void;
  rememberReply(requestKey: Uint8Array, reply: Uint8Array): void;
  /** Seals everything anew, under another master key. */
  reseal(next: Sealing): void;
  writeHeader(header: Uint8Array): void;
  /** From now on another counter counts. @param value what it says now */
  countWith(counter: Counter | undefined, value: number | undefined): void;
  /** Is called once the change is on the disk, before anybody hears of it. */
  afterwards(body: () => void): void;
}

/** The sealed state of an open vault. All changes go through {@link State.change}. */
export interface State {
  readonly head: Head;
  readonly sealing: Sealing;
  get(id: Uint8Array): OpenRecord | undefined;
  byName(full: string): OpenRecord | undefined;
  byBareName(bare: string): readonly OpenRecord[];
  page(after: Uint8Array, limit: number): readonly OpenRecord[];
  count(kind: Kind): number;
  ofKind(kind: Kind): readonly OpenRecord[];
  reply(requestKey: Uint8Array): Uint8Array | undefined;
  journal(after: number, limit: number): readonly { sequence: number; line: string }[];
  /**
   * Makes a change durable. Changes that come close together share a transaction; each is whole or not at all.
   *
   * @param work must be synchronous, and must not keep anything of what it is given
   * @param options.counted the change must not come back with an old copy of the state: the root's counter goes up with
   *   it, before this returns
   */
  change<T>(work: (change: Change) => T, options?: { counted?: boolean }): Promise<T>;
  /** Figures that nothing depends on: written now and then. */
  readonly figures: Database["figures"];
  /** @returns what ends it */
  onEvent(listener: (event: VaultEvent, keyId: string | undefined) => void): () => void;
  /** Waits for changes that are under way; takes no more. */
  close(): Promise<void>;
}

export interface StateOptions {
  readonly database: Database;
  readonly sealing: Sealing;
  readonly counter: Counter | undefined;
  readonly boot: string;
  readonly now?: () => number;
}

const HEAD_PLACE = encodeStrictly(["head"]);

/** Changes in one transaction, at most: so that the first of them does not wait for all of a crowd. */
const BATCH = 256;

export function recordPlace(kind: number, id: Uint8Array, generation: number): Uint8Array {
  return encodeStrictly(["record", kind, id, generation]);
}

export function summaryPlace(id: Uint8Array, generation: number): Uint8Array {
  return encodeStrictly(["summary", id, generation]);
}

function requestPlace(key: Uint8Array): Uint8Array {
  return encodeStrictly(["request", key]);
}

/** Writes the head of a state that has nothing in it. @param counter what the root's counter says now */
export function initialise(database: Database, sealing: Sealing, counter: number | undefined): void {
  writeHead(database, sealing, emptyHead(counter));
}

export function writeHead(database: Database, sealing: Sealing, head: Head): void {
  database.meta.set("head", sealing.seal(HEAD_PLACE, encodeHead(head)));
}

/** @throws ThornkeyError `STATE_DAMAGED` */
export function openHead(sealing: Sealing, sealed: Uint8Array): Head {
  return decodeHead(sealing.open(HEAD_PLACE, sealed));
}

/**
 * Opens the state: everything must fit its head, and the head the root's counter.
 *
 * @throws ThornkeyError `STATE_DAMAGED`, `ROLLED_BACK`
 */
export async function openState(options: StateOptions): Promise<State> {
  const { database, sealing, counter } = options;
  const head = readHead(database, sealing);
  mustBeWhole(database, sealing, head);
  if (counter !== undefined) await mustBeNewest(head, counter);
  return createState(options, head);
}

/** @throws ThornkeyError `STATE_DAMAGED` */
export function readHead(database: Database, sealing: Sealing): Head {
  const sealed = database.meta.get("head");
  if (sealed === undefined) throw new ThornkeyError("STATE_DAMAGED", "the state has no head", { hint: REPAIR_HINT });
  return openHead(sealing, sealed);
}

/** Every record that should be there is, in its newest form, and nothing else is. */
function mustBeWhole(database: Database, sealing: Sealing, head: Head): void {
  let records = 0;
  const sum = new Uint8Array(32);
  for (const { id, generation, end } of database.records.ends()) {
    const tag = sealing.rowTag(id, generation, end);
    for (let i = 0; i < 32; i++) sum[i] = (sum[i] ?? 0) ^ (tag[i] ?? 0);
    records++;
  }
  if (records !== head.records || !equal(sum, head.sum)) {
    throw new ThornkeyError(
      "STATE_DAMAGED",
      records === head.records
        ? "some records are not those that belong to this state"
        : `the state has ${records} records and should have ${head.records}`,
      { hint: REPAIR_HINT },
    );
  }
  const last = database.journal.last();
  const fits = last === undefined ? head.journal.sequence === 0 : equal(hashOf(last.line), head.journal.hash);
  if (!fits) {
    throw new ThornkeyError("STATE_DAMAGED", "the journal does not end where this state says it does", {
      hint: REPAIR_HINT,
    });
  }
}

/**
 * A change is written before the counter goes up, so the state may be one ahead: then what was under way is finished.
 *
 * @throws ThornkeyError `ROLLED_BACK`
 */
async function mustBeNewest(head: Head, counter: Counter): Promise<void> {
  const [said, known] = [await counter.read(), head.counter ?? 0];
  if (said === known) return;
  if (said === known - 1) {
    await counter.increment();
    return;
  }
  throw new ThornkeyError(
    "ROLLED_BACK",
    said > known
      ? `this is an old copy of the state: it knows ${known} of the ${said} changes that the root has counted`
      : `the state counts ${known} changes and the root only ${said}: the root is not the one it was used with`,
    { hint: "put back the newest copy of the state" },
  );
}

interface Waiting {
  readonly work: (change: Change) => unknown;
  readonly counted: boolean;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome =
  | { ok: true; value: unknown; after: (() => void)[]; events: StoredEvent[] }
  | { ok: false; error: unknown };

interface StoredEvent {
  readonly event: VaultEvent;
  readonly keyId: string | undefined;
}

function createState(options: StateOptions, initial: Head): State {
  const { database, boot, now = Date.now } = options;
  let { sealing, counter } = options;
  let head = initial;
  /** The state is one ahead of the counter, because the root did not answer. */
  let owing = false;
  const waiting: Waiting[] = [];
  let running: Promise<void> | undefined;
  let closed = false;
  const listeners = new Set<(event: VaultEvent, keyId: string | undefined) => void>();

  const opened = (row: StoredRow | undefined): OpenRecord | undefined =>
    row && {
      id: row.id,
      kind: row.kind,
      generation: row.generation,
      body: decodeStrictly(sealing.open(recordPlace(row.kind, row.id, row.generation), row.sealed)),
    };
  const get = (id: Uint8Array) => opened(database.records.get(id));
  const ofKind = (kind: Kind) => database.records.ofKind(kind).flatMap((row) => opened(row) ?? []);
  const byName = (full: string) => opened(database.records.byName(sealing.nameTag(full)));

  async function run(): Promise<void> {
    // What arrives in the same turn of the event loop shares one transaction, and one wait for the disk.
    await new Promise((resolve) => setImmediate(resolve));
    while (waiting.length > 0) {
      const batch = waiting.splice(0, BATCH);
      try {
        if (owing) await settle();
        await apply(batch);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    // In the same breath as the last look: what comes after starts anew.
    running = undefined;
  }

  async function settle(): Promise<void> {
    await counter?.increment();
    owing = false;
  }

  async function apply(batch: readonly Waiting[]): Promise<void> {
    let next = head;
    let counts = false;
    const outcomes: Outcome[] = [];
    const sealingBefore = sealing;
    const body = () => {
      for (const { work } of batch) {
        const before = next;
        const sealingOfOthers = sealing;
        try {
          const after: (() => void)[] = [];
          const events: StoredEvent[] = [];
          const value = database.part(() => {
            const change = changeOn(
              () => next,
              (fields) => {
                next = { ...next, ...fields };
              },
              after,
              events,
            );
            return work(change);
          });
          outcomes.push({ ok: true, value, after, events });
        } catch (error) {
          next = before;
          sealing = sealingOfOthers;
          outcomes.push({ ok: false, error });
        }
      }
      const counted = batch.some((one, index) => one.counted && outcomes[index]?.ok);
      counts = counted && next.counter !== undefined;
      if (counts) next = { ...next, counter: (next.counter ?? 0) + 1 };
      if (next !== head) writeHead(database, sealing, next);
    };
    try {
      database.transaction(body);
    } catch (error) {
      sealing = sealingBefore;
      throw error;
    }
    head = next;
    for (const outcome of outcomes) if (outcome.ok) for (const body of outcome.after) body();
    let failure: unknown;
    if (counts) {
      owing = true;
      await settle().catch((error) => {
        failure = error;
      });
    }
    for (const [index, { resolve, reject, counted }] of batch.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined || !outcome.ok) reject(outcome?.error);
      else if (counted && failure !== undefined) reject(notCounted(failure));
      else resolve(outcome.value as never);
    }
    for (const outcome of outcomes) {
      if (!outcome.ok) continue;
      for (const { event, keyId } of outcome.events) for (const listener of listeners) listener(event, keyId);
    }
  }

  function changeOn(
    current: () => Head,
    set: (fields: Partial<Head>) => void,
    after: (() => void)[],
    events: StoredEvent[],
  ): Change {
    return {
      get head() {
        return current();
      },
      get,
      byName,
      countScope: (scope) => database.records.countScope(sealing.nameTag(`${scope}/*`)),
      ofKind,
      put(kind, id, names, body, summary) {
        const old = database.records.get(id);
        const generation = (old?.generation ?? 0) + 1;
        const full = names ? sealing.nameTag(names.full) : null;
        if (full && database.records.byName(full) && !(old?.full && equal(old.full, full))) {
          throw new ThornkeyError("KEY_EXISTS", `there is a '${names?.full}' already`, {
            hint: "choose another name, or delete that one first",
          });
        }
        const plaintext = encodeStrictly(body);
        const sealed = sealing.seal(recordPlace(kind, id, generation), plaintext);
        plaintext.fill(0);
        const bare = names ? sealing.nameTag(`*/${names.bare}`) : null;
        const scope = names ? sealing.nameTag(`${names.scope}/*`) : null;
        database.records.put({ id, kind, generation, full, bare, scope, sealed });
        if (summary !== undefined) {
          database.summaries.put(id, generation, sealing.seal(summaryPlace(id, generation), encodeStrictly(summary)));
        }
        let sum = xor(current().sum, sealing.rowTag(id, generation, sealed));
        if (old) sum = xor(sum, sealing.rowTag(id, old.generation, old.sealed));
        set({ sum, records: current().records + (old ? 0 : 1) });
        return generation;
      },
      remove(id) {
        const old = database.records.get(id);
        if (old === undefined) return;
        database.records.remove(id);
        database.summaries.remove(id);
        database.figures.remove(id);
        set({
          sum: xor(current().sum, sealing.rowTag(id, old.generation, old.sealed)),
          records: current().records - 1,
        });
      },
      journal(entry) {
        const time = now();
        const { line, head: journal } = nextLine(current().journal, entry, time, boot);
        database.journal.append(journal.sequence, line);
        set({ journal });
        events.push({ event: eventOf(journal.sequence, time, entry), keyId: entry.key?.id });
      },
      setHead: set,
      doom: (key) => set({ doomed: [...current().doomed.filter(({ id }) => id !== key.id), key] }),
      overwritten: (id) => set({ doomed: current().doomed.filter((key) => key.id !== id) }),
      countWith(next, value) {
        set({ counter: value });
        after.push(() => {
          counter = next;
        });
      },
      signedUpTo: (sequence) => set({ journal: { ...current().journal, signed: sequence } }),
      rememberReply: (key, reply) => database.requests.put(key, sealing.seal(requestPlace(key), reply)),
      reseal(next) {
        let sum: Uint8Array = new Uint8Array(32);
        // Read whole before anything is written: a cursor does not see its own table change under it.
        for (const row of [...database.records.all()]) {
          const place = recordPlace(row.kind, row.id, row.generation);
          const body = sealing.open(place, row.sealed);
          const sealed = next.seal(place, body);
          const names = namesIn(row.kind, row.id, decodeStrictly(body));
          database.records.put({
            ...row,
            sealed,
            full: names && next.nameTag(names.full),
            bare: names && next.nameTag(`*/${names.bare}`),
            scope: names && next.nameTag(`${names.scope}/*`),
          });
          body.fill(0);
          sum = xor(sum, next.rowTag(row.id, row.generation, sealed));
        }
        for (const { id, generation, sealed } of [...database.summaries.all()]) {
          const place = summaryPlace(id, generation);
          database.summaries.put(id, generation, next.seal(place, sealing.open(place, sealed)));
        }
        database.requests.clear();
        sealing = next;
        set({ sum });
      },
      writeHeader: (header) => database.meta.set("header", header),
      afterwards: (body) => void after.push(body),
    };
  }

  return {
    get head() {
      return head;
    },
    get sealing() {
      return sealing;
    },
    get,
    byName,
    byBareName: (bare) => database.records.byBareName(sealing.nameTag(`*/${bare}`)).flatMap((row) => opened(row) ?? []),
    page: (after, limit) => database.records.page(after, limit).flatMap((row) => opened(row) ?? []),
    count: (kind) => database.records.count(kind),
    ofKind,
    reply(key) {
      const sealed = database.requests.get(key);
      return sealed && sealing.open(requestPlace(key), sealed);
    },
    journal: (after, limit) => database.journal.read(after, limit),
    figures: database.figures,
    change: (work, { counted = false } = {}) =>
      new Promise((resolve, reject) => {
        if (closed) {
          reject(new ThornkeyError("VAULT_UNAVAILABLE", "the vault is ending"));
          return;
        }
        waiting.push({ work, counted, resolve: resolve as (value: never) => void, reject });
        running ??= run();
      }),
    onEvent(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

/** Under what a record can be found, as {@link Change.put} was told. */
export function namesIn(kind: number, id: Uint8Array, body: unknown): RecordNames | null {
  if (kind === KIND.device) return null;
  if (kind === KIND.namespace) return namespaceNames((body as { name: string }).name);
  const { scope, label } = body as { scope: string; label: string };
  if (kind === KIND.object) return objectNames(id, body as NamedObject);
  return { full: `${scope}/${label}`, bare: label, scope };
}

export function namespaceNames(name: string): RecordNames {
  return { full: `namespace ${name}`, bare: "namespace", scope: "" };
}

interface NamedObject {
  readonly scope: string;
  readonly label: string;
  readonly class: string;
  /** No other unique one of its class has its name. */
  readonly unique?: boolean | undefined;
}

/** Objects may have the same name, and never that of a key: no name has this sign in it. */
export function objectNames(id: Uint8Array, { scope, label, class: name, unique }: NamedObject): RecordNames {
  return { full: `${scope}/#${unique ? `${name}#${label}` : toHex(id)}`, bare: `#${label}`, scope };
}

function notCounted(cause: unknown): ThornkeyError {
  return new ThornkeyError(
    "OUTCOME_UNKNOWN",
    "the change is written, and the root did not answer when it was to count it",
    { hint: "look whether it is there; it is counted as soon as the root answers again", cause },
  );
}

/** @returns a new id, 16 bytes */
export function newId(): Uint8Array {
  return new Uint8Array(randomBytes(16));
}
