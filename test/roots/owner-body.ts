/** A thread for test/roots/owner.test.ts, whose calls do everything that hardware may do to a driver. */
import { threadId, workerData } from "node:worker_threads";
import { ThornkeyError } from "../../src/errors.ts";
import { libc } from "../../src/machine/libc.ts";
import { Later, unfinished } from "../../src/roots/later.ts";
import { serveThread } from "../../src/roots/owner-thread.ts";

const seen: number[] = [];
const left = unfinished();

export const calls = {
  /** @returns what it was given when it started, and which thread it is */
  who: () => ({ data: workerData as unknown, thread: threadId }),
  add(a: number, b: number) {
    seen.push(a);
    return a + b;
  },
  /** @returns the first numbers that were added here */
  seen: () => seen,
  later: async (value: number) => {
    await new Promise((resolve) => setImmediate(resolve));
    return value;
  },
  /** Something is left to do for it. @returns what was added here until it was done */
  half: (value: number) => {
    seen.push(value);
    return new Later(() => [...seen]);
  },
  halfBroken: () =>
    new Later((): never => {
      throw new ThornkeyError("ROOT_UNAVAILABLE", "the rest went wrong");
    }),
  /** As hardware that works for a while. */
  busy(value: number) {
    seen.push(value);
    left.finish();
    seen.push(value + 1);
  },
  refuse(): never {
    throw new ThornkeyError("ROOT_REFUSED", "no", { hint: "ask another" });
  },
  fail(): never {
    throw new TypeError("broken");
  },
  /** Blocks in the kernel, where nobody can wake it. */
  block(milliseconds: number) {
    libc().poll(new Uint8Array(8), 0, milliseconds);
    return "blocked";
  },
  die(): never {
    process.exit(1);
  },
  anything: (value: unknown) => value,
};
export type BodyCalls = typeof calls;

serveThread(calls, () => {}, left);
