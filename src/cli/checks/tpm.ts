/** A TPM, asked without a vault: nothing in it is changed. */
import type { Lockout } from "../../roots/root.ts";
import { parseTpmLocation } from "../../roots/tpm/location.ts";
import { nothingMeasuredIn, type TpmSurvey } from "../../roots/tpm/survey.ts";
import { visitTpm } from "../../roots/tpm/visit.ts";
import { ownerIn } from "../tpm-lockout.ts";
import { fail, ok, type Patient, type Said, warn } from "./finding.ts";
import type { Ask } from "./hardware.ts";

export const askTpm: Ask = async (specification, patient, belongs) => {
  const visit = visitTpm(parseTpmLocation(specification));
  try {
    const survey = await visit.survey();
    const unmeasured = nothingMeasuredIn(await visit.pcrs());
    const { serial = "without a storage key", manufacturer, vendor } = survey;
    return [
      ok(`the TPM ${manufacturer} ${vendor} ${serial} answers`),
      ...belongs("the TPM", serial),
      storageKeySaid(survey, patient),
      ...lockoutSaid({ ...survey.lockout, locked: survey.permanent.inLockout }),
      ...ownerSaid(survey, patient),
      ok(
        unmeasured
          ? "its PCRs 0 to 7 are zero: a policy on them would protect nothing, and no key here has one"
          : "something was measured into its PCRs at boot",
      ),
    ];
  } finally {
    await visit.close();
  }
};

function storageKeySaid({ storageKey }: TpmSurvey, { parts }: Patient): Said {
  if (storageKey === undefined) {
    return parts.some(({ kind }) => kind === "tpm")
      ? fail("its storage key at 0x81000001 is gone", "if the TPM was cleared, nothing of the state opens any more")
      : ok("it has no storage key at 0x81000001 yet; a vault makes one");
  }
  if (!storageKey.storageKey) {
    return fail(
      `what is at 0x81000001 is no storage key: ${storageKey.type}`,
      "see 'thornkey tpm info'; if nobody needs it: tpm2_evictcontrol -c 0x81000001",
    );
  }
  if (!storageKey.noDA) {
    return warn(
      `the storage key at 0x81000001 (${storageKey.type}) counts failures: a locked TPM opens nothing under it`,
      "if nobody needs it: tpm2_evictcontrol -c 0x81000001, and a new vault makes one that does not",
    );
  }
  return storageKey.type === "ECC P-256"
    ? ok("its storage key at 0x81000001 is of P-256, and counts no failures")
    : warn(
        `the storage key at 0x81000001 is ${storageKey.type}: key files of most Linux programs do not load under it`,
        "their keys can be taken in only where the usual key of P-256 is",
      );
}

/** The defence against guessing, of a TPM that was asked or of which a vault told. */
export function lockoutSaid({
  failures,
  most,
  locked,
}: Pick<Lockout, "failures" | "most" | "locked">): readonly Said[] {
  const todo = "'thornkey tpm lockout' says since when and who can end it: thornkey tpm lockout reset";
  if (locked) return [warn(`the TPM is locked after ${failures} failures; keys of the vault work all the same`, todo)];
  return failures > 0 ? [warn(`the TPM counted ${failures} failures, and locks at ${most}`, todo)] : [];
}

function ownerSaid(survey: TpmSurvey, { state, parts }: Patient): readonly Said[] {
  if (!parts.some(({ kind, serial }) => kind === "tpm" && serial === survey.serial)) return [];
  const owner = ownerIn(state, survey);
  if (owner === "vault") return [ok("its lockout authorisation is this vault's")];
  return owner === "nobody"
    ? [
        warn(
          "its lockout authorisation is nobody's: every program that opens it can clear it",
          "was it taken off? set one of your own, and keep it: tpm2_changeauth -c lockout …",
        ),
      ]
    : [
        warn(
          "its lockout authorisation is not this vault's, which cannot clear the TPM",
          "whoever set it has it; 'thornkey tpm lockout'",
        ),
      ];
}
