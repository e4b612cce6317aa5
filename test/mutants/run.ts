import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { cp, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MUTANTS, type Mutant, ROOMS } from "./mutants.ts";

/**
 * Runs the tests of the emulated chip and of its driver against copies of the project with one defect each, and prints which tests notice
 * which defect. It fails when one is not noticed, when a defect no longer fits the source, or when the tests fail without
 * any defect.
 *
 * Each defect is first shown to a part of the tests, which is enough for most, and to all of them if need be.
 *
 *     node test/mutants/run.ts [name of a mutant]...
 */

const PROJECT = join(import.meta.dirname, "../..");
const COPIED = ["src", "test", "vitest.config.ts", "package.json", "tsconfig.json"];
const AT_ONCE = 2;

/** What most defects are seen by: a part of the refusals, and nothing that starts processes. */
const QUICK: Run = { share: "0.06", options: ["--no-isolate", "--exclude=**/{memory-file,server}.test.ts"] };
const WHOLE: Run = { share: "1", options: [] };
const PATIENCE_MS = 300_000;

interface Run {
  /** Of the cases of the refusal matrix. */
  readonly share: string;
  readonly options: readonly string[];
}

interface Outcome {
  readonly passed: number;
  readonly failed: readonly string[];
}

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !MUTANTS.some((mutant) => mutant.name === name));
if (unknown.length > 0) fail(`no such mutant: ${unknown.join(", ")}`);
const queue = MUTANTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));

const copies = await Promise.all(Array.from({ length: AT_ONCE }, copyOfProject));
process.on("exit", () => {
  for (const copy of copies) rmSync(copy, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

await checkThatAllFit();
const sound = await runTests(
  copies[0] ?? PROJECT,
  Object.values(ROOMS).flatMap(({ tests }) => tests),
  QUICK,
);
if (sound.failed.length > 0 || sound.passed === 0) fail(`without a defect: ${sound.failed.join("; ") || "no tests"}`);
console.log(`without a defect: ${sound.passed} tests pass\n`);

const survivors: string[] = [];
const waiting = [...queue];
await Promise.all(
  copies.map(async (copy) => {
    for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) await judge(mutant, copy);
  }),
);
console.log(`\n${queue.length - survivors.length} of ${queue.length} defects noticed`);
if (survivors.length > 0) fail(`not noticed: ${survivors.join(", ")}`);

async function judge(mutant: Mutant, copy: string): Promise<void> {
  const restore = await apply(mutant, copy);
  const { tests } = ROOMS[mutant.room];
  let outcome = await runTests(copy, tests, QUICK);
  if (outcome.failed.length === 0) outcome = await runTests(copy, tests, WHOLE);
  await restore();
  if (outcome.failed.length === 0) survivors.push(mutant.name);
  const by = outcome.failed.map((test) => `    ${test}`);
  console.log([`${mutant.name}: ${mutant.defect}`, ...(by.length > 0 ? by : ["    NOT NOTICED"])].join("\n"));
}

/** @returns what takes the defect out again */
async function apply(mutant: Mutant, copy: string): Promise<() => Promise<void>> {
  const before = new Map<string, string>();
  for (const { file, find, replace } of mutant.changes) {
    const path = join(copy, ROOMS[mutant.room].source, file);
    const text = await readFile(path, "utf8");
    if (!before.has(path)) before.set(path, text);
    await writeFile(
      path,
      text.replace(find, () => replace),
    );
  }
  return async () => {
    for (const [path, text] of before) await writeFile(path, text);
  };
}

/** A defect that no longer fits would otherwise pass as one that is not there. */
async function checkThatAllFit(): Promise<void> {
  const misfits: string[] = [];
  for (const { name, room, changes } of queue) {
    for (const { file, find } of changes) {
      const times = (await readFile(join(PROJECT, ROOMS[room].source, file), "utf8")).split(find).length - 1;
      if (times !== 1) misfits.push(`${name}: found ${times} times in ${file}: ${find.trim()}`);
    }
  }
  if (misfits.length > 0) fail(`defects that do not fit the source:\n${misfits.join("\n")}`);
}

async function copyOfProject(): Promise<string> {
  const copy = mkdtempSync(join(tmpdir(), "mutant-"));
  for (const name of COPIED) await cp(join(PROJECT, name), join(copy, name), { recursive: true });
  await symlink(join(PROJECT, "node_modules"), join(copy, "node_modules"));
  return copy;
}

async function runTests(copy: string, tests: readonly string[], { share, options }: Run): Promise<Outcome> {
  const report = join(copy, "report.json");
  rmSync(report, { force: true });
  const vitest = join(copy, "node_modules/vitest/vitest.mjs");
  // A slow machine must not look like a test that has noticed something; what hangs is ended below.
  const always = ["run", ...tests, "--maxWorkers=1", "--testTimeout=0", "--reporter=json", `--outputFile=${report}`];
  const child = spawn(process.execPath, [vitest, ...always, ...options], {
    cwd: copy,
    env: { ...process.env, REFUSALS_SHARE: share },
    stdio: "ignore",
    timeout: PATIENCE_MS,
  });
  const signal = await new Promise((resolve) => child.on("close", (_, by) => resolve(by)));
  if (signal || !existsSync(report)) return { passed: 0, failed: ["the tests never ended"] }; // Vitest may obey the signal
  return outcomeOf(JSON.parse(await readFile(report, "utf8")));
}

function outcomeOf({ testResults }: VitestReport): Outcome {
  const unread = testResults.filter(({ assertionResults }) => assertionResults.length === 0);
  if (unread.length > 0) fail(unread.map(({ name, message }) => `${name} did not run: ${message}`).join("\n"));
  const all = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ title, status }) => ({ test: `${name.split("/").at(-1)}: ${title}`, status })),
  );
  return {
    passed: all.filter(({ status }) => status === "passed").length,
    failed: all.filter(({ status }) => status === "failed").map(({ test }) => test),
  };
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
