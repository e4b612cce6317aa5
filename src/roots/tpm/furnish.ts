/** What a vault needs in a TPM: a sealed secret, an attestation key, a counter, the lockout authorisation. Made once. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Secret } from "../../bytes/secret.ts";
import { authFrom } from "./auth.ts";
import { DictionaryAttackParameters, HierarchyChangeAuth } from "./commands.ts";
import { HANDLE } from "./constants.ts";
import { defineCounter, freeIndex } from "./counter.ts";
import type { TpmFacts } from "./facts.ts";
import { plainEntity } from "./frame.ts";
import { identityOf } from "./identity.ts";
import { create } from "./keys.ts";
import type { Parent } from "./parent.ts";
import { DONE, type RootFile, writeRootFile } from "./root-file.ts";
import { newNonce } from "./session.ts";
import { ATTESTATION_KEY, SEALED_SECRET } from "./templates.ts";
import type { Tpm } from "./tpm.ts";
import { encodeKeyFile } from "./tss2.ts";

/** Failures until it locks, seconds until one is forgotten, and until a wrong lockout authorisation is forgiven. */
const GUESSING = { maxTries: 32, recoveryTime: 600, lockoutRecovery: 86_400 };

/** Makes what a vault needs in a TPM; written down before anything is changed that outlives a crash. */
export function furnish(tpm: Tpm, path: string, { entity }: Parent, { permanent }: TpmFacts): RootFile {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const seed = new Secret(newNonce());
  const random = newNonce();
  const [sealing, attesting] = [authFrom(seed, "sealed"), authFrom(seed, "attestation")];
  try {
    const sealed = create(tpm, entity, SEALED_SECRET, sealing, random);
    const attestation = create(tpm, entity, ATTESTATION_KEY, attesting);
    const made: RootFile = {
      parentName: entity.name,
      parentHandle: entity.handle,
      sealed: encodeKeyFile(sealed),
      attestation: encodeKeyFile(attestation),
      index: freeIndex(tpm),
      done: 0,
      seed,
      lockout: new Secret(permanent.lockoutAuthSet ? new Uint8Array(0) : newNonce()),
      identity: identityOf(tpm),
    };
    writeRootFile(path, made);
    return made;
  } finally {
    random.fill(0);
    sealing.fill(0);
    attesting.fill(0);
  }
}

/** Does what is written down and not done yet. */
export function finish(tpm: Tpm, path: string, start: RootFile, { permanent }: TpmFacts): RootFile {
  let current = start;
  const mark = (step: number) => {
    current = { ...current, done: current.done | step };
    writeRootFile(path, current);
  };
  if (!(current.done & DONE.counter)) {
    const auth = authFrom(current.seed, "counter");
    defineCounter(tpm, current.index, auth);
    auth.fill(0);
    mark(DONE.counter);
  }
  if (!(current.done & DONE.lockout) && current.lockout.length > 0) {
    current.lockout.use((auth) => takeLockout(tpm, auth, permanent.lockoutAuthSet));
    mark(DONE.lockout);
  }
  if (current.identity === undefined) {
    current = { ...current, identity: identityOf(tpm) };
    writeRootFile(path, current);
  }
  return current;
}

/**
 * Whoever has the lockout authorisation clears the TPM. As long as it is empty everybody has it.
 *
 * @param set it was set before a crash, by us
 */
function takeLockout(tpm: Tpm, auth: Uint8Array, set: boolean): void {
  if (!set) tpm.run(HierarchyChangeAuth, [plainEntity(HANDLE.lockout)], { newAuth: auth });
  tpm.run(DictionaryAttackParameters, [plainEntity(HANDLE.lockout, auth)], GUESSING);
}
