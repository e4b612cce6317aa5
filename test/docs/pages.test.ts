import { spawnSync } from "node:child_process";
import { chmodSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");

/** A piece of a page: commands, or what the commands before it print. */
interface Block {
  readonly kind: "sh" | "ts" | "text";
  readonly lines: readonly string[];
}

function blocksOf(page: string): Block[] {
  return [...page.matchAll(/^```(sh|ts|text)\n([\s\S]*?)^```$/gm)].map(([, kind, body = ""]) => ({
    kind: kind as Block["kind"],
    lines: body.trimEnd().split("\n"),
  }));
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

/** Where the machine's `age` is missing, or older than our recipients, the pages find that of npm in its place. */
function provideAge(folder: string): void {
  const version = spawnSync("age", ["--version"], { encoding: "utf8" }).stdout ?? "";
  const [, major = 0, minor = 0] = /^v?(\d+)\.(\d+)/.exec(version)?.map(Number) ?? [];
  if (major > 1 || (major === 1 && minor >= 3)) return;
  for (const name of ["age", "age-keygen"]) {
    const real = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
    const script = `#!/bin/sh\nexec ${process.execPath} ${root}/test/docs/age.ts ${name} "${real}" "$@"\n`;
    writeFileSync(join(folder, name), script, { mode: 0o755 });
  }
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

const pages = globSync("docs/*.md", { cwd: root }).filter((page) =>
  blocksOf(readFileSync(join(root, page), "utf8")).some(({ kind }) => kind !== "text"),
);

describe.each(pages)("%s", (page) => {
  it("does what it prints, as printed", () => {
    const folder = mkdtempSync(join(tmpdir(), "thornkey-docs-"));
    try {
      writeFileSync(join(folder, "thornkey"), `#!/bin/sh\nexec ${process.execPath} ${root}/src/cli/main.ts "$@"\n`);
      chmodSync(join(folder, "thornkey"), 0o755);
      provideAge(folder);
      const blocks = blocksOf(readFileSync(join(root, page), "utf8"));
      const marks = blocks.map((block, index) => {
        if (block.kind === "text") return "";
        return `echo "@@ ${index}"\n${block.kind === "sh" ? block.lines.join("\n") : program(folder, index, block.lines)}\n`;
      });
      const script = `set -eu\ntrap 'for job in $(jobs -p); do kill $job; done' EXIT\n${marks.join("")}`;
      const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
        cwd: folder,
        encoding: "utf8",
        timeout: 110_000,
        env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, HOME: folder, NODE_OPTIONS: "" },
      });
      expect(status, `${basename(page)}: ${stderr}\n${stdout}`).toBe(0);
      const printed = new Map(stdout.split(/^@@ /m).map((part) => [Number.parseInt(part, 10), part]));
      for (const [index, { kind, lines }] of blocks.entries()) {
        if (kind !== "text") continue;
        for (const line of lines) expect(printed.get(index - 1)).toMatch(pattern(line));
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
