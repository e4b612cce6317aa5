import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

/** Resident megabytes that stay after hashes of passphrases on every thread of the pool. */
function grownBy(first: string): number {
  const module = join(import.meta.dirname, "../../src/machine/large-memory.ts");
  const script = `
    import { scrypt } from "node:crypto";
    import { promisify } from "node:util";
    import { giveBackLargeMemory } from ${JSON.stringify(module)};
    ${first}
    const hash = () => promisify(scrypt)("passphrase", "salt", 32);
    await hash();
    const before = process.memoryUsage.rss();
    for (let round = 0; round < 8; round++) await Promise.all(Array.from({ length: 8 }, hash));
    console.log((process.memoryUsage.rss() - before) / 1e6);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  return Number(stdout);
}

it("what a passphrase's hash needed is the kernel's again", () => {
  expect(grownBy("giveBackLargeMemory();")).toBeLessThan(16);
});

const glibc = (process.report?.getReport() as { header?: { glibcVersionRuntime?: string } })?.header
  ?.glibcVersionRuntime;

it.skipIf(glibc === undefined)("which it is not by itself", () => {
  expect(grownBy("")).toBeGreaterThan(24);
});
