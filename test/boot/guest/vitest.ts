/**
 * Stands in for vitest where there is no room for it: collects tests and runs them in order, with vitest's own `expect`.
 * It has what the contract of a root uses, and nothing else, so that what it does not know fails.
 */
import { JestAsymmetricMatchers, JestChaiExpect, JestExtend } from "@vitest/expect";
import { expect as chaiExpect, use } from "chai";
import { step } from "./steps.ts";

use(JestExtend);
use(JestChaiExpect);
use(JestAsymmetricMatchers);
export const expect = chaiExpect;

type Work = () => Promise<void> | void;

interface Suite {
  readonly name: string;
  readonly patience: number;
  readonly before: Hook[];
  readonly tests: { readonly name: string; readonly work: Work }[];
  readonly after: Hook[];
}

interface Hook {
  readonly work: Work;
  readonly patience: number;
}

const suites: Suite[] = [];
let current: Suite | undefined;

function suite(): Suite {
  if (current === undefined) throw new Error("not in a describe");
  return current;
}

export function describe(name: string, { timeout }: { timeout: number }, body: () => void): void {
  if (current !== undefined) throw new Error("a describe in a describe");
  current = { name, patience: timeout, before: [], tests: [], after: [] };
  suites.push(current);
  body();
  current = undefined;
}

export function beforeAll(work: Work, patience: number): void {
  suite().before.push({ work, patience: Math.max(patience, suite().patience) });
}

export function afterAll(work: Work, patience: number): void {
  suite().after.push({ work, patience: Math.max(patience, suite().patience) });
}

export function it(name: string, work: Work): void {
  suite().tests.push({ name, work });
}

it.runIf = (condition: boolean) => (condition ? it : () => {});

it.each =
  <Case extends object>(cases: readonly Case[]) =>
  (title: string, work: (one: Case) => Promise<void> | void): void => {
    for (const one of cases) it(titled(title, one), () => work(one));
  };

/** `$name` in a title is the case's value, as vitest shows it. */
function titled(title: string, one: object): string {
  return title.replaceAll(/\$(\w+)/g, (_, name: string) => `'${new Map(Object.entries(one)).get(name)}'`);
}

/** Runs what was collected; each test is a step with the name that vitest gives it. */
export async function runCollected(): Promise<void> {
  for (const { name, patience, before, tests, after } of suites.splice(0)) {
    let ready = true;
    for (const hook of before) {
      await within(hook.patience, hook.work).catch((error) => {
        ready = false;
        return step(`before ${name}`, () => Promise.reject(error));
      });
    }
    for (const test of ready ? tests : []) await step(`${name} > ${test.name}`, () => within(patience, test.work));
    for (const hook of after) {
      await within(hook.patience, hook.work).catch((error) => step(`after ${name}`, () => Promise.reject(error)));
    }
  }
}

async function within(milliseconds: number, work: Work): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took more than ${milliseconds} ms`)), milliseconds);
  });
  await Promise.race([work(), over]).finally(() => clearTimeout(timer));
}
