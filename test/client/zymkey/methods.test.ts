import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Zymkey } from "../../../src/client/zymkey/index.ts";
import { METHODS } from "./methods.ts";

const root = join(import.meta.dirname, "../../..");
const source = readFileSync(join(root, "src/client/zymkey/zymkey.ts"), "utf8");
const page = readFileSync(join(root, "docs/zymkey.md"), "utf8");
const tests = globSync("*.test.ts", { cwd: import.meta.dirname })
  .filter((name) => name !== "methods.test.ts")
  .map((name) => readFileSync(join(import.meta.dirname, name), "utf8"))
  .join("\n");

/** The parameters of a method as its implementation has them; one with a default is optional. */
function parametersOf(name: string): string {
  const implementation = new RegExp(`^  (?:async )?${name}\\(([^{};]*?)\\): [^;{]*?\\{$`, "m").exec(source)?.[1] ?? "?";
  // Types may hold commas.
  const plain = implementation.replaceAll(/<[^<>]*>/g, "").replaceAll(/\n/g, " ");
  return plain
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => `${/^\w+/.exec(part)?.[0]}${part.includes("=") || /^\w+\?/.test(part) ? "?" : ""}`)
    .join(" ");
}

describe("the Zymkey API", () => {
  it("has 63 methods, and nothing besides but closing", () => {
    expect(Object.keys(METHODS).length).toBe(63);
    const own = Object.getOwnPropertyNames(Zymkey.prototype).filter((name) => name !== "constructor");
    expect(own.sort()).toEqual([...Object.keys(METHODS), "close"].sort());
  });

  it.each(Object.entries(METHODS))(
    "%s has its arguments in order, a test, and a line in the page",
    (name, parameters) => {
      expect(parametersOf(name)).toBe(parameters);
      expect(tests).toMatch(new RegExp(`\\.${name}\\(`));
      expect(page).toContain(`| \`${name}\` |`);
    },
  );
});
