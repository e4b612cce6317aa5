import { describe, expect, it } from "vitest";
import { HAS_SWTPM } from "../roots/tpm/lab.ts";
import { tpmCampaign } from "./tpm.ts";

describe.runIf(HAS_SWTPM)("faults between the vault and its TPM", { timeout: 300_000 }, () => {
  it("end in a right answer or an error, never in a wrong one, and pass", async () => {
    const seed = Date.now() % 2 ** 32;
    console.log(`repeat with: node test/faults/tpm.ts --runs 120 --seed ${seed}`);
    const { runs, right, refused } = await tpmCampaign(120, seed);
    const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
    expect(right + refusals).toBe(runs);
    expect(right).toBeGreaterThan(runs / 3); // a fault of the moment is mended without anybody noticing
  });
});
