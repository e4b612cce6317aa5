/**
 * Writes the table of programs in README.md from what the tests with real programs saw (test/programs/.results).
 *
 *     npx vitest run test/programs && node scripts/program-table.ts
 *     node scripts/program-table.ts --check      fails when the table is another
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Result } from "../test/programs/results.ts";

const [BEGIN, END] = ["<!-- programs: begin -->", "<!-- programs: end -->"];
const root = join(import.meta.dirname, "..");
const readme = join(root, "README.md");

const results = globSync("test/programs/.results/*.json", { cwd: root })
  .map((file) => JSON.parse(readFileSync(join(root, file), "utf8")) as Result)
  .sort((a, b) => a.program.localeCompare(b.program, "en", { sensitivity: "base" }));
if (results.length === 0) give("there are no results: run the tests first (npx vitest run test/programs)");

const rows = results.map(
  ({ program, version, keys, seen }) => `| ${program} ${version} | ${keys.join(", ")} | ${seen} |`,
);
const table = ["| program | keys | what was seen |", "|---|---|---|", ...rows].join("\n");
const text = readFileSync(readme, "utf8");
const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
if (begin < 0 || end < begin) give(`README.md has no ${BEGIN} … ${END}`);
const written = `${text.slice(0, begin + BEGIN.length)}\n${table}\n${text.slice(end)}`;
if (!process.argv.includes("--check")) writeFileSync(readme, written);
else if (written !== text) give("the table in README.md is not what the tests saw: node scripts/program-table.ts");

function give(sentence: string): never {
  process.stderr.write(`program-table: ${sentence}\n`);
  process.exit(1);
}
