import { describe, expect, it } from "vitest";
import { type CampaignReport, campaign } from "./campaign.ts";

describe("a bus on which one transaction in a hundred goes wrong", () => {
  it.each(["508a", "608a"] as const)("never makes a wrong result look right (%s)", async (model) => {
    const seed = Date.now() % 2 ** 32;
    console.log(`repeat with: node test/faults/campaign.ts --operations 3000 --seed ${seed} --model ${model}`);
    const report = await campaign({ operations: 3000, seed, rate: 0.01, model });
    expect(report.wrong).toEqual([]);
    expect(faultsOf(report)).toBeGreaterThan(300);
  });

  it("is noticed when it is worse: errors, but no wrong result", async () => {
    const report = await campaign({ operations: 300, seed: 7, rate: 0.2, model: "508a" });
    expect(report.wrong).toEqual([]);
    expect(Object.keys(report.errors).length).toBeGreaterThan(0);
  });
});

function faultsOf({ faults }: CampaignReport): number {
  return Object.values(faults).reduce((sum, count) => sum + count, 0);
}
