import { expect, it } from "vitest";
import { piCampaign } from "../../faults/pi.ts";
import { FAULTS } from "./unruly-firmware.ts";

it("never gives a wrong key or signature, and recovers, whatever happens to the firmware", {
  timeout: 300_000,
}, async () => {
  const seed = Number(process.env.THORNKEY_SEED ?? Date.now() % 2 ** 32);
  console.log(`repeat with: node test/faults/pi.ts --runs 500 --seed ${seed}`);
  const { right, faults } = await piCampaign(500, seed);
  expect(right).toBeGreaterThan(100);
  expect([...faults.keys()].sort()).toEqual([...FAULTS].sort());
});
