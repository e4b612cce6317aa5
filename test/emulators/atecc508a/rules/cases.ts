import { benchOf, type Difference, inspect, take } from "./bench.ts";
import { decodeKeyConfig, decodeSlotConfig } from "./device.ts";
import type { Setup } from "./setup.ts";
import type { Step } from "./steps.ts";

/** One case: a chip, how its volatile state came about, and the command under test. */
export interface Case {
  readonly setup: Setup;
  readonly prelude: readonly Step[];
  readonly step: Step;
}

export interface Report {
  readonly cases: number;
  /** Cases that end where the documents leave the answer open; they are not among `cases`. */
  readonly unspecified: number;
  readonly wrong: readonly Wrong[];
  /** How often each rule alone decided about the command under test. */
  readonly decided: ReadonlyMap<string, number>;
}

interface Wrong {
  readonly where: Case;
  /** The step that differed; the last one also stands for what was seen after it. */
  readonly step: Step;
  readonly difference: Difference;
}

export function runAll(cases: Iterable<Case>): Report {
  let [count, unspecified] = [0, 0];
  const wrong: Wrong[] = [];
  const decided = new Map<string, number>();
  for (const one of cases) {
    const result = run(one, decided);
    if (result === "unspecified") unspecified++;
    else count++;
    if (typeof result === "object") wrong.push(result);
  }
  return { cases: count, unspecified, wrong, decided };
}

function run(where: Case, decided: Map<string, number>): Wrong | "unspecified" | undefined {
  const bench = benchOf(where.setup);
  for (const step of [...where.prelude, where.step]) {
    const difference = take(bench, step, step === where.step ? decided : undefined);
    if (difference === "unspecified") return "unspecified";
    if (difference) return { where, step, difference };
  }
  const difference = inspect(bench);
  return difference && { where, step: where.step, difference };
}

const SHOWN = 5;

/** @returns what a failing test prints: how often each rule was broken, and the first few cases in full */
export function describeReport({ wrong }: Report): string {
  const tally = new Map<string, number>();
  for (const { step, difference } of wrong) {
    const name = `${step.label.split(" ")[0]} | ${difference.rule} | ${short(difference.expected)} -> ${short(difference.got)}`;
    tally.set(name, (tally.get(name) ?? 0) + 1);
  }
  const most = [...tally].sort((a, b) => b[1] - a[1]).slice(0, 40);
  return [
    `${wrong.length} cases differ from the rules:`,
    ...most.map(([name, times]) => `${String(times).padStart(6)}  ${name}`),
    ...wrong.slice(0, SHOWN).map(describeWrong),
  ].join("\n");
}

const short = (text: string): string => text.replaceAll(/[0-9a-f]{9,}/g, "…").slice(0, 60);

function describeWrong({ where, step, difference }: Wrong): string {
  const { setup } = where;
  const { slots, model, stage, ...rest } = setup;
  const others = Object.entries(rest).map(([name, value]) => `${name} ${value}`);
  return [
    "",
    `ATECC${model}, ${stage}${others.length > 0 ? `, ${others.join(", ")}` : ""}`,
    ...Object.keys(slots).map((slot) => describeSlot(setup, Number(slot))),
    ...[...where.prelude, where.step].map((one) => `  ${one === step ? ">" : " "} ${one.label}`),
    `  rule      ${difference.rule}`,
    `  expected  ${difference.expected}`,
    `  got       ${difference.got}`,
  ].join("\n");
}

function describeSlot({ slots }: Setup, slot: number): string {
  const { slotConfig = 0, keyConfig = 0, locked = false, content = "secret" } = slots[slot] ?? {};
  const fields = Object.entries({ ...decodeSlotConfig(slotConfig), ...decodeKeyConfig(keyConfig) });
  const shown = fields.flatMap(([name, value]) => {
    if (value === false) return [];
    if (value === true) return [name];
    return [`${name} ${name === "writeConfig" ? value.toString(2).padStart(4, "0") : value}`];
  });
  return `  slot ${slot}: ${shown.join(", ")}${locked ? ", slot-locked" : ""}; holds ${typeof content === "string" ? content : "other bytes"}`;
}
