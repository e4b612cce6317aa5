import { join } from "node:path";
import { describe } from "vitest";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import { type Bench, keepsTheContract } from "../contract.ts";
import { HAS_SWTPM, openTpmLab } from "./lab.ts";

describe.runIf(HAS_SWTPM)("TPM 2.0 (swtpm)", () => {
  keepsTheContract("a TPM", tpmBench, {
    kind: "tpm",
    makes: ["p256 sign", "p256 agree", "p384 sign", "p384 agree", "rsa2048 sign"],
    can: ["derive", "certify", "counter", "random"],
  });
});

export async function tpmBench(): Promise<Bench> {
  const lab = openTpmLab();
  const tpm = await lab.tpm();
  const folder = join(lab.folder, "roots");
  let others = 0;
  return {
    open: () => openTpmRoot(tpm.location, { folder }),
    async openAnother() {
      const other = await lab.tpm();
      return openTpmRoot(other.location, { folder: join(lab.folder, `roots${++others}`) });
    },
    close: () => lab.close(),
  };
}
