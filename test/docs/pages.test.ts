import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { isThere } from "../programs/device.ts";
import { blocksOf, needsOf, promisesOf, provideAge, root, scriptOf, writeCommands } from "./page.ts";

/** These need somebody at the other end, and are run by the tests that have him. */
const ELSEWHERE = { "docs/aws.md": "test/programs/aws.test.ts" } as const;

const pages = globSync("docs/*.md", { cwd: root }).filter(
  (page) =>
    !Object.hasOwn(ELSEWHERE, page) &&
    blocksOf(readFileSync(join(root, page), "utf8")).some(({ kind }) => kind !== "text"),
);

it.each(Object.entries(ELSEWHERE))("%s is run by %s", (page, test) => {
  expect(readFileSync(join(root, test), "utf8")).toContain(page);
});

describe.each(pages)("%s", (page) => {
  const missing = needsOf(readFileSync(join(root, page), "utf8")).filter((name) => !isThere(name));
  it.skipIf(missing.length > 0)(`does what it prints, as printed${missing.map((name) => ` (no ${name})`)}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "thornkey-docs-"));
    try {
      writeCommands(folder);
      provideAge(folder);
      const blocks = blocksOf(readFileSync(join(root, page), "utf8"));
      const { status, stdout, stderr } = spawnSync("bash", ["-c", scriptOf(folder, blocks)], {
        cwd: folder,
        encoding: "utf8",
        timeout: 110_000,
        env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, HOME: folder, NODE_OPTIONS: "" },
      });
      expect(status, `${basename(page)}: ${stderr}\n${stdout}`).toBe(0);
      for (const { printed, promised } of promisesOf(blocks, stdout)) expect(printed).toMatch(promised);
    } finally {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
  });
});
