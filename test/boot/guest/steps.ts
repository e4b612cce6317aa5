/** What the programs of the guest have in common: steps whose results go to the host, and questions to it. */
import { createInterface } from "node:readline";
import { ThornkeyError } from "../../../src/errors.ts";
import type { FromGuest } from "../report.ts";

const host = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (report: FromGuest) => process.stdout.write(`\n${JSON.stringify(report)}\n`);

/** Has the host do something, and waits until it has. */
export async function ask(what: string): Promise<void> {
  say({ kind: "ask", what });
  await host.next();
}

/** Runs one step and reports it; one that fails does not stop the others. */
export async function step(name: string, work: () => Promise<unknown> | unknown): Promise<void> {
  const start = performance.now();
  const report = (ok: boolean, detail: unknown) =>
    say({ kind: "result", step: name, ok, milliseconds: Math.round(performance.now() - start), detail });
  try {
    report(true, (await work()) ?? "");
  } catch (error) {
    report(false, error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

/** Says that all is done, and ends this program. */
export function end(): never {
  say({ kind: "end" });
  process.exit(0);
}

/** @returns the error of what must fail */
export async function failure(work: () => Promise<unknown> | unknown): Promise<ThornkeyError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ThornkeyError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

export function must(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

/** @returns what was seen, when it is what was expected */
export function mustBe<Seen extends object>(seen: Seen, expected: Partial<Seen>): Seen {
  const wrong = Object.entries(expected).filter(([name, value]) => seen[name as keyof Seen] !== value);
  const shown = wrong.map(([name, value]) => `${name}: ${seen[name as keyof Seen]} instead of ${value}`);
  must(wrong.length === 0, shown.join(", "));
  return seen;
}
