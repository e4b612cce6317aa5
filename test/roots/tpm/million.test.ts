import { describe, expect, it } from "vitest";
import { HAS_SWTPM } from "./lab.ts";
import { manySignatures } from "./million.ts";

describe.runIf(HAS_SWTPM)("many signatures", { timeout: 240_000 }, () => {
  it("leave no object and no session in the TPM", async () => {
    const looks = await manySignatures(5000, 2500, () => {});
    expect(looks.map(({ signatures }) => signatures)).toEqual([2500, 5000]);
    for (const look of looks) expect(look).toMatchObject({ transient: 0, loadedSessions: 0, savedSessions: 0 });
  });
});
