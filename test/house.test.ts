import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");

describe("the check of the house", () => {
  const copy = mkdtempSync(join(tmpdir(), "thornkey-house-"));
  const check = () => spawnSync(process.execPath, [join(copy, "scripts/check-house.ts")], { encoding: "utf8" });

  beforeAll(() => {
    for (const part of ["src", "scripts", "ARCHITECTURE.md", "package.json"]) {
      cpSync(join(root, part), join(copy, part), { recursive: true });
    }
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

  it("is content with the house as it is", () => {
    expect(check()).toMatchObject({ status: 0, stderr: "" });
  });

  it.each([
    ["a root that imports the emulator", "src/roots/x.ts", 'import { a } from "../emulators/atecc508a/chip.ts";'],
    ["an emulator that imports the driver", "src/emulators/x.ts", 'export * from "../roots/atecc/packet.ts";'],
    ["bytes that import the machine", "src/bytes/x.ts", 'import type { A } from "../machine/clock.ts";'],
    ["an import at run time", "src/bytes/x.ts", 'const a = await import("../machine/clock.ts");'],
    ["a package without a line", "src/cli/x.ts", 'import a from "left-pad";'],
    ["a file in no room", "src/attic/x.ts", "export const a = 1;"],
  ])("finds %s", (_, file, source) => {
    cpSync(join(root, "src/errors.ts"), join(copy, file)); // makes the folder
    writeFileSync(join(copy, file), source);
    const { status, stderr } = check();
    rmSync(join(copy, file));
    expect(stderr).toContain(file);
    expect(status).toBe(1);
  });
});
