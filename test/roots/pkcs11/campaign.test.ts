import { describe, expect, it } from "vitest";
import { pkcs11Campaign } from "../../faults/pkcs11.ts";
import { badTokens } from "./vendor.ts";

const bad = badTokens();
const RUNS = 400;

describe("a module with faults of all kinds", { timeout: 300_000 }, () => {
  if ("missing" in bad) return it.skip(bad.missing);
  it("gives right answers or errors, and is well when they end", async () => {
    const seed = Number(process.env.THORNKEY_SEED ?? Date.now() % 2 ** 32);
    console.log(`repeat with: node test/faults/pkcs11.ts --runs ${RUNS} --seed ${seed}`);
    const { right, errors } = await pkcs11Campaign(bad.make, RUNS, seed);
    expect(right).toBeGreaterThan(RUNS / 4);
    expect(errors).toBeGreaterThan(0);
  });
});
