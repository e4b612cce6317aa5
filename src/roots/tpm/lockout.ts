/** The TPM's defence against guessing: whose its authorisation is, and forgetting the failures with it. */
import { join } from "node:path";
import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Lockout } from "../root.ts";
import { DictionaryAttackLockReset } from "./commands.ts";
import { HANDLE } from "./constants.ts";
import { factsOf, type TpmFacts } from "./facts.ts";
import { plainEntity } from "./frame.ts";
import { findParent, serialOf } from "./parent.ts";
import { DONE, type RootFile, readRootFile } from "./root-file.ts";
import type { Tpm } from "./tpm.ts";

/**
 * @param file of the vault's state, for this TPM
 * @param parentName of the storage key that is in the TPM now
 */
export function lockoutOwner(
  { lockoutAuthSet }: Pick<TpmFacts["permanent"], "lockoutAuthSet">,
  file: Pick<RootFile, "parentName" | "lockout" | "done"> | undefined,
  parentName: Uint8Array | undefined,
): Lockout["owner"] {
  if (!lockoutAuthSet) return "nobody";
  // Only what was written down as done in this very TPM is sure; a wrong one closes its lockout hierarchy for a day.
  const ours =
    file !== undefined &&
    parentName !== undefined &&
    equal(file.parentName, parentName) &&
    file.lockout.length > 0 &&
    (file.done & DONE.lockout) !== 0;
  return ours ? "vault" : "other";
}

export function rootFilePath(folder: string, serial: string): string {
  return join(folder, `${serial}.tpm`);
}

/**
 * Forgets the failures, with the authorisation in a state's files, when it is sure that it is this TPM's.
 *
 * @param folder the state's folder for what belongs to roots
 * @throws ThornkeyError `ROOT_REFUSED` when it is not; `NOT_PERMITTED`, `MALFORMED` (the file)
 */
export function resetLockoutWith(tpm: Tpm, folder: string): void {
  const parent = findParent(tpm);
  const file = parent && readRootFile(rootFilePath(folder, serialOf(parent)));
  try {
    const owner = lockoutOwner(factsOf(tpm).permanent, file, parent?.entity.name);
    if (owner === "other") throw notOurs(folder);
    if (owner === "nobody") {
      tpm.run(DictionaryAttackLockReset, [plainEntity(HANDLE.lockout)], {}, ["password"]);
      return;
    }
    if (parent === undefined || file === undefined) throw notOurs(folder);
    tpm.salt(parent.entity, parent.area);
    file.lockout.use((auth) => void tpm.run(DictionaryAttackLockReset, [plainEntity(HANDLE.lockout, auth)], {}));
  } finally {
    file?.seed.destroy();
    file?.lockout.destroy();
  }
}

function notOurs(folder: string): ThornkeyError {
  return new ThornkeyError("ROOT_REFUSED", `the TPM's lockout authorisation is not in ${folder}, and none is guessed`, {
    hint: "a wrong one closes the TPM's lockout hierarchy for a day; whoever set it can: tpm2_dictionarylockout -c -p …",
  });
}
