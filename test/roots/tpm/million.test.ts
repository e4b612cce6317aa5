import { describe, expect, it } from "vitest";
import { HAS_SWTPM } from "./lab.ts";
import { MOST_USES, manySignatures } from "./million.ts";

describe.runIf(HAS_SWTPM)("many signatures by a root that is not closed", { timeout: 240_000 }, () => {
  it("gather no object and no session in the TPM, and make no session old", async () => {
    const looks = await manySignatures(5000, 2500, () => {});
    expect(looks.map(({ signatures }) => signatures)).toEqual([2500, 5000]);
    for (const { busy, idle } of looks) {
      expect(idle).toEqual({ transient: 0, loadedSessions: 1, savedSessions: 0 });
      expect(busy.transient).toBeGreaterThan(0); // it was looked at while it worked
      expect(busy.loadedSessions).toBeGreaterThan(0);
    }
    const { sessions, mostUses } = looks.at(-1) ?? { sessions: 0, mostUses: 0 };
    expect(sessions).toBeGreaterThan(5000 / MOST_USES);
    expect(mostUses).toBe(MOST_USES);
  });
});
