/** The hardware under the vault: what it answers itself, or what a vault that runs says of it. */
import { ThornkeyError } from "../../errors.ts";
import { kindOfRoot, parseRootParts, type RootKindName } from "../../roots/root-parts.ts";
import { askChip, askEmulated } from "./chip.ts";
import { type Check, fail, ok, type Patient, type Said, warn } from "./finding.ts";
import { askPi, PI_CHECKS } from "./pi.ts";
import { askToken } from "./token.ts";
import { askTpm, lockoutSaid } from "./tpm.ts";
import { TPM_CHECKS } from "./tpm-host.ts";

/**
 * How hardware of each kind is asked, without a vault: nothing is changed in it, and nobody logs in.
 *
 * @param belongs says whether a serial number is one of the state's
 */
export type Ask = (specification: string, patient: Patient, belongs: Belongs) => Promise<readonly Said[]>;
/** @param what the hardware, as people call it: `the TPM`. @returns nothing when it is the state's, or there is no state */
export type Belongs = (what: string, serial: string) => readonly Said[];

const ASK: { readonly [Kind in RootKindName]: Ask } = {
  emulated: askEmulated,
  atecc: askChip,
  tpm: askTpm,
  pkcs11: askToken,
  pi: askPi,
};

/** What a header calls the kinds of specifications. */
const KIND_IN_STATE: { readonly [Kind in RootKindName]: string } = {
  emulated: "atecc",
  atecc: "atecc",
  tpm: "tpm",
  pkcs11: "pkcs11",
  pi: "pi",
};

/** Who says more about the limits of a kind. */
const MORE: { readonly [kind: string]: string } = {
  atecc: "'thornkey chip info' says why",
  tpm: "'thornkey tpm lockout' and docs/tpm.md say why",
};

export const HARDWARE_CHECKS: readonly Check[] = [{ name: "root", look: lookAtRoot }, ...TPM_CHECKS, ...PI_CHECKS];

/** A root that a vault uses is asked by the vault; one that nobody uses, by us. */
async function lookAtRoot(patient: Patient): Promise<Said | readonly Said[]> {
  const { root, status, holder, lockouts } = patient;
  if (status !== undefined && status.roots.length > 0) {
    const said = status.roots.flatMap(({ name, kind, model, serial, available, emulated, limits }) => [
      available
        ? ok(`${model} ${serial} answers`)
        : fail(`${name} does not answer`, "is it connected, and is its bus on?"),
      ...(emulated ? [warn("the root is emulated: it protects nothing", "for development only")] : []),
      ...limits.map((limit) => warn(limit, MORE[kind] ?? "'thornkey root list' says of which hardware")),
    ]);
    return [...said, ...lockouts.flatMap((one) => lockoutSaid(one))];
  }
  if (holder !== undefined) return ok("the root belongs to the vault that runs");
  if (root === undefined) return ok("the root was not asked; --root names it");
  try {
    const said: Said[] = [];
    for (const part of parseRootParts(root).parts) said.push(...(await askPart(part, patient)));
    return said;
  } catch (error) {
    return refusal(root, error);
  }
}

async function askPart(part: string, patient: Patient): Promise<readonly Said[]> {
  const kind = kindOfRoot(part);
  const serials = patient.parts.filter((one) => one.kind === KIND_IN_STATE[kind]).map(({ serial }) => serial);
  const belongs: Belongs = (what, serial) => {
    if (patient.parts.length === 0 || serials.includes(serial)) return [];
    const those = serials.length > 0 ? `${what} ${serials.join(" or ")}` : "hardware of another kind";
    return [fail(`the state belongs to ${those}`, "put it back; nothing of the state opens with another")];
  };
  try {
    return await ASK[kind](part, patient, belongs);
  } catch (error) {
    return [refusal(part, error)];
  }
}

function refusal(specification: string, error: unknown): Said {
  if (!(error instanceof ThornkeyError)) throw error;
  return fail(`${specification}: ${error.message}`, error.hint ?? "is it connected, and is its bus on?");
}
