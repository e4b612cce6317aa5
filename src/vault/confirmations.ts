/**
 * Uses that an owner must confirm: they wait, he is told by an event, and answers.
 */
import { ThornkeyError } from "../errors.ts";
import type { StoredKey } from "./records.ts";
import type { Caller } from "./rights.ts";

export interface WaitingUse {
  readonly id: number;
  readonly keyId: string;
  readonly keyName: string;
  readonly operation: string;
  readonly caller: Caller;
  /** Milliseconds since 1970. */
  readonly until: number;
}

export interface Confirmations {
  /** @throws ThornkeyError `NOT_PERMITTED` when it is refused, `TIMED_OUT` when nobody answers */
  ask(key: StoredKey, operation: string, caller: Caller, signal: AbortSignal): Promise<void>;
  readonly waiting: readonly WaitingUse[];
  answer(id: number, approve: boolean): WaitingUse | undefined;
}

/** Milliseconds an owner has. */
const PATIENCE = 50_000;
const AT_MOST = 100;

export function createConfirmations(tell: (use: WaitingUse) => void, now: () => number): Confirmations {
  const open = new Map<number, { use: WaitingUse; settle: (error?: ThornkeyError) => void }>();
  let last = 0;
  return {
    ask: (key, operation, caller, signal) =>
      new Promise((resolve, reject) => {
        if (open.size >= AT_MOST) {
          reject(new ThornkeyError("LIMIT_REACHED", `${AT_MOST} uses wait for confirmation already`));
          return;
        }
        const id = ++last;
        const use = { id, keyId: key.id, keyName: key.name, operation, caller, until: now() + PATIENCE };
        const settle = (error?: ThornkeyError) => {
          if (!open.delete(id)) return;
          clearTimeout(timer);
          signal.removeEventListener("abort", aborted);
          if (error) reject(error);
          else resolve();
        };
        const aborted = () => settle(new ThornkeyError("ABORTED", "the request was withdrawn"));
        const timer = setTimeout(
          () => settle(new ThornkeyError("TIMED_OUT", `key '${key.name}': no owner confirmed the use in time`)),
          PATIENCE,
        );
        signal.addEventListener("abort", aborted);
        open.set(id, { use, settle });
        tell(use);
      }),
    get waiting() {
      return [...open.values()].map(({ use }) => use);
    },
    answer(id, approve) {
      const found = open.get(id);
      if (found === undefined) return undefined;
      found.settle(
        approve
          ? undefined
          : new ThornkeyError("NOT_PERMITTED", `key '${found.use.keyName}': an owner refused this use`),
      );
      return found.use;
    },
  };
}
