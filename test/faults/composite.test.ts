import { describe, expect, it } from "vitest";
import { HAS_SWTPM } from "../roots/tpm/lab.ts";
import { compositeCampaign } from "./composite.ts";

describe.runIf(HAS_SWTPM)("faults in the parts of a composite", { timeout: 300_000 }, () => {
  it("end in a right answer or in an error that names the part, and pass", async () => {
    const seed = Number(process.env.THORNKEY_SEED ?? Date.now() % 2 ** 32);
    console.log(`repeat with: node test/faults/composite.ts --runs 9 --seed ${seed}`);
    const { runs, right, refused } = await compositeCampaign(9, seed);
    expect(right + Object.values(refused).reduce((sum, count) => sum + count, 0)).toBe(runs);
  });
});
