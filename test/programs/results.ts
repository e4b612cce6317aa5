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

export function noteResult(result: Result): void {
  mkdirSync(FOLDER, { recursive: true });
  const name = result.program.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(result, undefined, 2)}\n`);
}

/** @returns the first number with a dot that a program says of itself */
export function versionOf(program: string, ...args: string[]): string {
  const { stdout, stderr } = spawnSync(program, args.length > 0 ? args : ["--version"], {
    encoding: "utf8",
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  return /\d+\.\d+[\w.]*/.exec(`${stdout}\n${stderr}`)?.[0] ?? "";
}
