/** What the tests with real programs saw, for the table in the README (`node scripts/program-table.ts`). */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, ".results");

export interface Result {
  readonly program: string;
  readonly version: string;
  /** `p256`, `rsa2048`, `p256 resident`. */
  readonly keys: readonly string[];
  readonly seen: string;
}

/** Of this run: what is in the files may be of an earlier one. */
const noted = new Map<string, Result>();

/** Adds to what was seen of a program in this run; call it after the last expectation, for the keys it was about. */
export function noteResult(result: Result): void {
  const before = noted.get(result.program);
  const all = { ...result, keys: [...new Set([...(before?.keys ?? []), ...result.keys])] };
  noted.set(result.program, all);
  mkdirSync(FOLDER, { recursive: true });
  const name = result.program.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(all, undefined, 2)}\n`);
}

/** @returns the first number with a dot that a program says of itself */
export function versionOf(program: string, ...args: string[]): string {
  const { stdout, stderr } = spawnSync(program, args.length > 0 ? args : ["--version"], {
    encoding: "utf8",
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  return /\d+\.\d+[\w.]*/.exec(`${stdout}\n${stderr}`)?.[0] ?? "";
}
