/** A page of the documentation as a test reads it: commands, programs, and what they print. */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(import.meta.dirname, "../..");

/** A piece of a page: commands, or what the commands before it print. */
export interface Block {
  readonly kind: "sh" | "ts" | "text";
  readonly lines: readonly string[];
}

export function blocksOf(page: string): Block[] {
  return [...page.matchAll(/^```(sh|ts|text)\n([\s\S]*?)^```$/gm)].map(([, kind, body = ""]) => ({
    kind: kind as Block["kind"],
    lines: body.trimEnd().split("\n"),
  }));
}

/** A page begins with the programs it runs, where not every machine has them. */
export function needsOf(page: string): readonly string[] {
  return /^<!-- needs: (.*) -->/.exec(page)?.[1]?.split(" ") ?? [];
}

/** A line of a page may leave things out with an ellipsis; spaces count once. */
function pattern(line: string): RegExp {
  const parts = line.trim().split(/\s*…\s*/);
  return new RegExp(parts.map((part) => part.split(/\s+/).map(RegExp.escape).join("\\s+")).join(".*"), "m");
}

/** Writes a program that imports the package by name, from its sources. @returns the command that runs it */
function program(folder: string, index: number, lines: readonly string[]): string {
  const source = lines
    .join("\n")
    .replaceAll(
      /"(thornkey(?:\/(?:atecc|emulator|trust|zymkey|client\/locking))?)"/g,
      (_, name: keyof typeof ENTRANCES) => JSON.stringify(join(root, ENTRANCES[name])),
    );
  writeFileSync(join(folder, `program-${index}.ts`), source);
  return `${process.execPath} program-${index}.ts`;
}

/** The package's exports, in the sources. */
const ENTRANCES = {
  thornkey: "src/client/index.ts",
  "thornkey/trust": "src/trust/index.ts",
  "thornkey/atecc": "src/roots/atecc/index.ts",
  "thornkey/emulator": "src/emulators/atecc508a/index.ts",
  "thornkey/zymkey": "src/client/zymkey/index.ts",
  "thornkey/client/locking": "src/client/locking/index.ts",
} as const;

/** The package's commands, by the source each is in. */
const COMMANDS = { thornkey: "src/cli/main.ts", "age-plugin-thornkey": "src/cli/age-plugin.ts" } as const;

/** Where the machine's `age` is missing, or older than our recipients, the pages find that of npm in its place. */
export function provideAge(folder: string): void {
  const version = spawnSync("age", ["--version"], { encoding: "utf8" }).stdout ?? "";
  const [, major = 0, minor = 0] = /^v?(\d+)\.(\d+)/.exec(version)?.map(Number) ?? [];
  if (major > 1 || (major === 1 && minor >= 3)) return;
  for (const name of ["age", "age-keygen"]) {
    const real = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
    const script = `#!/bin/sh\nexec ${process.execPath} ${root}/test/docs/age.ts ${name} "${real}" "$@"\n`;
    writeFileSync(join(folder, name), script, { mode: 0o755 });
  }
}

/** Puts the package's commands, and the Node it runs on, into a folder for the PATH. */
export function writeCommands(folder: string): void {
  for (const [name, source] of Object.entries(COMMANDS)) command(folder, name, `${process.execPath} ${root}/${source}`);
  command(folder, "node", process.execPath);
}

function command(folder: string, name: string, line: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\nexec ${line} "$@"\n`);
  chmodSync(join(folder, name), 0o755);
}

/** @returns a script for bash that runs all commands of a page, with marks in what it prints */
export function scriptOf(folder: string, blocks: readonly Block[]): string {
  const marks = blocks.map((block, index) => {
    if (block.kind === "text") return "";
    return `echo "@@ ${index}"\n${block.kind === "sh" ? block.lines.join("\n") : program(folder, index, block.lines)}\n`;
  });
  return `set -eu\ntrap 'for job in $(jobs -p); do kill $job; done' EXIT\n${marks.join("")}`;
}

/** @returns for each line that a page promises, what was printed in its place, and the pattern it must match */
export function promisesOf(blocks: readonly Block[], stdout: string): { printed: string; promised: RegExp }[] {
  const parts = new Map(stdout.split(/^@@ /m).map((part) => [Number.parseInt(part, 10), part]));
  return blocks.flatMap(({ kind, lines }, index) =>
    kind === "text" ? lines.map((line) => ({ printed: parts.get(index - 1) ?? "", promised: pattern(line) })) : [],
  );
}
