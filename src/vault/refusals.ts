/**
 * Refusals in the journal: who wanted what, and did not get it. The first of its kind is written at once; what repeats is
 * counted and written once a minute, so that nobody fills the disk by being refused.
 */
import { fromHex } from "../bytes/bytes.ts";
import type { ErrorCode, ThornkeyError } from "../errors.ts";
import type { OperationName } from "../operations/table.ts";
import type { CallerFacts } from "../operations/who.ts";
import type { Entry } from "./journal.ts";
import { type StoredKey, storedKey } from "./records.ts";
import { isKey, type OpenRecord, type State } from "./store/state.ts";

export interface Refusals {
  /** @param args of the operation, checked or not */
  note(caller: CallerFacts, operation: OperationName, args: unknown, error: ThornkeyError): void;
  /** Writes what was only counted. */
  close(): Promise<void>;
}

/** What is a refusal, and no mistake. A key that is hidden is not found. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(["NOT_PERMITTED", "LIMIT_REACHED", "KEY_NOT_FOUND"]);

/** Milliseconds in which the same refusal is written once. */
const WINDOW = 60_000;
/** Kinds of refusals written, and remembered, in a window; more are only counted together. */
const KINDS = 200;

interface Repeated {
  readonly entry: Entry;
  more: number;
}

export function createRefusals(state: State): Refusals {
  let seen = new Map<string, Repeated>();
  let others = 0;

  const write = (entries: readonly Entry[]) =>
    state.change((change) => {
      for (const entry of entries) change.journal(entry);
    });

  async function flush(): Promise<void> {
    const repeated = [...seen.values()].filter(({ more }) => more > 0);
    const entries = repeated.map(({ entry, more }) => ({
      ...entry,
      kind: "refused.again",
      text: `${entry.text} (${more} more times)`,
      details: { ...entry.details, times: more },
    }));
    if (others > 0) {
      entries.push({
        kind: "refused.others",
        text: `${others} further refusals of other kinds`,
        details: { times: others },
      });
    }
    seen = new Map();
    others = 0;
    if (entries.length > 0) await write(entries);
  }

  const timer = setInterval(() => void flush().catch(() => {}), WINDOW);
  timer.unref();

  return {
    note(caller, operation, args, error) {
      if (!REFUSALS.has(error.code)) return;
      const { key: named, target } = (args ?? {}) as { key?: unknown; target?: unknown };
      const key = find(state, named) ?? find(state, target);
      // What is not there at all is nobody's.
      if (error.code === "KEY_NOT_FOUND" && key === undefined) return;
      const kind = [caller.uid, caller.front, operation, key?.id, error.code].join(" ");
      const known = seen.get(kind);
      if (known !== undefined) {
        known.more++;
        return;
      }
      if (seen.size >= KINDS) {
        others++;
        return;
      }
      const entry: Entry = {
        kind: "refused",
        text: `uid ${caller.uid} was refused '${operation}'${key ? ` on key ${key.name}` : ""}`,
        key: key && { id: key.id, name: key.name, generation: key.generation },
        caller,
        details: { operation, code: error.code },
      };
      seen.set(kind, { entry, more: 0 });
      // The refusal itself does not wait for the disk.
      write([entry]).catch(() => {});
    },
    async close() {
      clearInterval(timer);
      await flush().catch(() => {});
    },
  };
}

function find(state: State, name: unknown): StoredKey | undefined {
  if (typeof name !== "string") return undefined;
  const byId = /^[0-9a-f]{32}$/.test(name) ? state.get(fromHex(name)) : undefined;
  const records: readonly (OpenRecord | undefined)[] = name.includes("/")
    ? [state.byName(name)]
    : [byId, ...state.byBareName(name)];
  const record = records.find((one) => one !== undefined && isKey(one.kind));
  return record && storedKey(record);
}
