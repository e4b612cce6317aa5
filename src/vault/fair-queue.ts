/**
 * Work for one scarce thing – the vault's own thread, or one root – taken in turn from everybody who waits: one user
 * with a thousand requests delays another by one request, not by a thousand.
 */
import { ThornkeyError } from "../errors.ts";

export interface FairQueue<Work> {
  /** @throws ThornkeyError `LIMIT_REACHED` when `principal` has too much waiting already */
  push(principal: number, work: Work): void;
  /** @returns the next one's next work, or undefined when nothing waits */
  shift(): Work | undefined;
  readonly size: number;
}

/** @param limit how much one principal may have waiting */
export function createFairQueue<Work>(limit: number): FairQueue<Work> {
  /** Everybody who waits, the next one first. */
  const turns = new Map<number, Work[]>();
  let size = 0;
  return {
    push(principal, work) {
      const own = turns.get(principal);
      if (own === undefined) turns.set(principal, [work]);
      else if (own.length >= limit) {
        throw new ThornkeyError("LIMIT_REACHED", `you have ${limit} requests waiting already`, {
          hint: "wait for answers before asking more",
        });
      } else own.push(work);
      size++;
    },
    shift() {
      for (const [principal, own] of turns) {
        const work = own.shift();
        turns.delete(principal);
        if (own.length > 0) turns.set(principal, own); // to the end of the line
        if (work === undefined) continue;
        size--;
        return work;
      }
      return undefined;
    },
    get size() {
      return size;
    },
  };
}

/** Runs work on something that does one thing, or a few, at a time. */
export interface FairRunner {
  run<T>(principal: number, work: () => Promise<T>): Promise<T>;
  readonly waiting: number;
}

/** @param limit how much one principal may have waiting. @param atOnce how much is done at a time */
export function createFairRunner(limit: number, atOnce = 1): FairRunner {
  const queue = createFairQueue<() => Promise<void>>(limit);
  let busy = 0;
  async function drain(): Promise<void> {
    if (busy >= atOnce) return;
    busy++;
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await next();
    busy--;
  }
  return {
    run: (principal, work) =>
      new Promise((resolve, reject) => {
        queue.push(principal, () => work().then(resolve, reject));
        void drain();
      }),
    get waiting() {
      return queue.size;
    },
  };
}
