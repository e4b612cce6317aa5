/**
 * Flips bits of a state all over its database, repairs it, opens it, and looks at what is left:
 * `node test/vault/damage.ts --runs N --seed S`.
 *
 * After every repair the vault opens; a key signs as it did, or the report says that it does not; the key that was
 * deleted is not there; the journal's chain holds; and another repair finds nothing to do.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { LOSSES } from "../../src/operations/repair-report.ts";
import { ask, database, furnish, mustBeChained, open, openRepairLab, type Place, repair, useOf } from "./repair-lab.ts";

export interface Damages {
  readonly runs: number;
  /** Runs in which nothing that matters was hit. */
  readonly harmless: number;
  readonly repaired: number;
  /** Repairs that lost no key. */
  readonly lossless: number;
  readonly keysLost: number;
  readonly worst: number;
}

/** Small and repeatable (mulberry32). */
function dice(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const PAGE = 4096;

/** @throws Error with the number of the run, and what is not as it must be */
export async function campaign(runs: number, seed: number): Promise<Damages> {
  const random = dice(seed);
  const lab = openRepairLab();
  const figures = { runs, harmless: 0, repaired: 0, lossless: 0, keysLost: 0, worst: 0 };
  try {
    const origin = lab.place("origin");
    const keys = await furnish(origin);
    const bytes = readFileSync(database(origin));
    const pages = Math.ceil(bytes.length / PAGE);
    for (let run = 0; run < runs; run++) {
      const place = lab.copy(origin, `run-${run}`);
      // Every page has its turn; of three, one is hit once, one several times, one is overwritten whole.
      const damaged = new Uint8Array(bytes);
      const start = (run % pages) * PAGE;
      const flips = [1, 2 + random(30), 0][random(3)] ?? 0;
      for (let i = 0; i < flips; i++) {
        const at = start + random(PAGE);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << random(8));
      }
      if (flips === 0) for (let i = 0; i < PAGE; i++) damaged[start + i] = random(256);
      writeFileSync(database(place), damaged);
      try {
        const lost = await look(place, keys);
        if (lost === undefined) figures.harmless++;
        else {
          figures.repaired++;
          if (lost === 0) figures.lossless++;
          figures.keysLost += lost;
          figures.worst = Math.max(figures.worst, lost);
        }
      } catch (cause) {
        throw new Error(`run ${run} of seed ${seed}, page ${(run % pages) + 1}, ${flips} flips`, { cause });
      }
      rmSync(place.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
    return figures;
  } finally {
    lab.close();
  }
}

/** @returns keys that were lost; undefined when nothing was to be repaired */
async function look(place: Place, keys: Awaited<ReturnType<typeof furnish>>): Promise<number | undefined> {
  const report = await repair(place);
  const outcomes = new Map(report.keys.map(({ id, outcome }) => [id, outcome]));
  const vault = await open(place);
  let lost = 0;
  try {
    for (const key of keys) {
      const outcome = outcomes.get(key.id) ?? "not named";
      const use = await useOf(vault, key);
      const gone = LOSSES.has(outcome) || outcome === "not named";
      if (gone) lost++;
      const expected = gone
        ? ["KEY_NOT_FOUND", "NOT_PERMITTED"]
        : outcome === "careful"
          ? ["LIMIT_REACHED", "NOT_PERMITTED"]
          : ["signs"];
      if (!expected.includes(use)) throw new Error(`${key.name} is said to be ${outcome}, and ${use}`);
    }
    const named = report.keys.filter(({ outcome }) => LOSSES.has(outcome)).length;
    if (lost > named + report.unknown) throw new Error(`${lost} keys are lost, and ${named} are named`);
    const { keys: listed } = await ask(vault, 0, "key.list", { limit: 200 });
    if (listed.some(({ name }) => name === "~1000/gone")) throw new Error("a deleted key came back");
  } finally {
    await vault.close();
  }
  mustBeChained(place);
  const again = await repair(place);
  if (again.problems.length > 0) throw new Error(`after the repair: ${again.problems.join("; ")}`);
  return report.repaired ? lost : undefined;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { runs: { type: "string" }, seed: { type: "string" } } });
  const [runs, seed] = [Number(values.runs ?? 500), Number(values.seed ?? 1)];
  process.stdout.write(`${JSON.stringify({ seed, ...(await campaign(runs, seed)) })}\n`);
}
