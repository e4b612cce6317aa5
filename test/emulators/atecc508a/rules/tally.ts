import { afterAll, expect } from "vitest";
import { type Case, describeReport, type Report, runAll } from "./cases.ts";
import { type Random, seeded } from "./random.ts";
import { type Rules, rulesOf } from "./rules.ts";

/** One number that the whole matrix follows from; give another one to see other cases. */
export const SEED = Number(process.env.REFUSALS_SEED ?? 508);

/**
 * The share of the cases that is run, for runs that only ask whether a defect shows at all. How many there have to be, and
 * that every rule decides, is looked at in whole runs only.
 */
export const SHARE = Number(process.env.REFUSALS_SHARE ?? 1);

/** Fewer than this many cases would be chance. */
const OFTEN = 2;

/**
 * Runs and counts the matrices of one test file, and prints at the end how many cases there were.
 *
 * @param title of the file
 * @param commands those that the file is about: each of their rules must have decided alone in some case
 * @param atLeast fewer cases than this in the whole file is a failure: a generator has dried up
 */
export function tally(title: string, atLeast: number, commands: readonly Rules[] = []) {
  const lines: string[] = [];
  const decided = new Map<string, number>();
  let total = 0;

  afterAll(() => {
    console.log(`refusals: ${title}: ${total} cases, seed ${SEED} (${lines.join(", ")})`);
    if (SHARE < 1) return;
    expect(total).toBeGreaterThanOrEqual(atLeast);
    expect(commands.flatMap(rulesOf).filter((rule) => (decided.get(rule) ?? 0) < OFTEN)).toEqual([]);
  });

  const add = (name: string, report: Report): void => {
    total += report.cases;
    for (const [rule, times] of report.decided) decided.set(rule, (decided.get(rule) ?? 0) + times);
    const open = report.unspecified > 0 ? ` and ${report.unspecified} left open` : "";
    lines.push(`${name} ${report.cases}${open}`);
    if (report.wrong.length > 0) expect.fail(`${describeReport(report)}\nseed ${SEED}`);
    if (SHARE === 1) expect(report.cases).toBeGreaterThan(0);
  };

  return {
    add,
    /** @param share of the cases: what both models do alike is run in full on one of them */
    matrix: (name: string, cases: (random: Random) => Iterable<Case>, share = 1): void =>
      add(name, runAll(sample(cases(seeded(SEED)), share * SHARE))),
  };
}

function* sample(cases: Iterable<Case>, share: number): Generator<Case> {
  const random = seeded(SEED);
  for (const one of cases) if (share === 1 || random.chance(share)) yield one;
}
