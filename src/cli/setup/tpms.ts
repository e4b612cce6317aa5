/** TPMs of the kernel. */

import type { TpmFacts } from "../../roots/tpm/facts.ts";
import type { TpmLocation } from "../../roots/tpm/location.ts";
import { visitTpm } from "../../roots/tpm/visit.ts";
import { type Finder, type Found, type Search, type Trouble, troubleFrom } from "./finding.ts";

const KIND = "tpm";

const ENABLE = "on a Raspberry Pi: dtparam=spi=on and dtoverlay=tpm-slb9670 in config.txt, and a restart";

export const findTpms: Finder = {
  kind: KIND,
  longest: 30_000,
  async look({ host }) {
    const names = host.names("dev");
    const managed = names.filter((name) => /^tpmrm\d+$/.test(name));
    const bare = names.filter((name) => /^tpm\d+$/.test(name) && !managed.includes(name.replace("tpm", "tpmrm")));
    const searches = await Promise.all(managed.map((name) => one(`/dev/${name}`)));
    const alone = bare.map(
      (name): Trouble => ({
        kind: KIND,
        says: `there is /dev/${name}, and no /dev/${name.replace("tpm", "tpmrm")}`,
        todo:
          "that is a TPM 1.2, or a kernel without the resource manager; " +
          "without it, one program that leaves something in the TPM stops all others",
      }),
    );
    const none: readonly Trouble[] = names.some((name) => /^tpm(rm)?\d+$/.test(name))
      ? []
      : [{ kind: KIND, says: "there is no TPM", todo: ENABLE }];
    return {
      found: searches.flatMap(({ found }) => found),
      troubles: [...searches.flatMap(({ troubles }) => troubles), ...alone, ...none],
    };
  },
};

async function one(path: string): Promise<Search> {
  try {
    return { found: [foundFrom(path, await factsAt({ kind: "device", path }))], troubles: [] };
  } catch (error) {
    return { found: [], troubles: [troubleFrom(KIND, error)] };
  }
}

/** Asked without changing anything in it. */
export async function factsAt(location: TpmLocation): Promise<TpmFacts> {
  const visit = visitTpm(location);
  try {
    return await visit.facts();
  } finally {
    await visit.close();
  }
}

export function foundFrom(path: string, { manufacturer, vendor, firmware, permanent }: TpmFacts): Found {
  return {
    ...{ kind: KIND, root: `tpm:${path}`, usable: true, hardware: true, first: [] },
    name: `TPM 2.0 ${manufacturer} ${vendor}, firmware ${firmware}`,
    notes: [
      ...(permanent.inLockout ? ["it is locked because of guesses, and lets only what cannot be guessed"] : []),
      ...(permanent.lockoutAuthSet ? ["another program has its lockout authorisation: the vault cannot clear it"] : []),
    ],
  };
}
