/** What a TPM says of itself to somebody who only looks: nothing is made, loaded or changed. */
import { ownerOf } from "../owner.ts";
import { threadOwner } from "../owner-thread.ts";
import type { TpmFacts } from "./facts.ts";
import { formatTpmLocation, type TpmLocation } from "./location.ts";

export type DescribeCalls = { describe(): TpmFacts };

/** Milliseconds for a few GetCapability; a TPM that tests itself meanwhile takes its time. */
const LONGEST = 10_000;
const SLACK = 5_000;

/** @throws ThornkeyError `ROOT_UNAVAILABLE` */
export async function describeTpm(location: TpmLocation): Promise<TpmFacts> {
  const program = new URL(`./describe-thread${import.meta.url.slice(-3)}`, import.meta.url);
  const what = `the TPM ${formatTpmLocation(location)}`;
  const owner = ownerOf<DescribeCalls>(what, threadOwner(program, location), SLACK);
  try {
    return await owner.call("describe", [], { longest: LONGEST, repeatable: true });
  } finally {
    await owner.close();
  }
}
