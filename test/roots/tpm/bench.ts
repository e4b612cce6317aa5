import { join } from "node:path";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import type { Bench } from "../contract.ts";
import { openTpmLab } from "./lab.ts";

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
