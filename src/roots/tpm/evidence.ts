/** What a TPM says about itself and its keys so that a stranger believes it (Part 1, 31; Part 3, 18). */
import { equal } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { verifyEcdsaDigest } from "../../machine/openssl.ts";
import type { Certification, KeyHandle } from "../root.ts";
import { authFrom } from "./auth.ts";
import { ActivateCredential, Certify, PolicySecret, Quote } from "./commands.ts";
import { ALG, HANDLE } from "./constants.ts";
import { type Entity, plainEntity } from "./frame.ts";
import { withPrimary } from "./identity.ts";
import { sha256 } from "./kdf.ts";
import { rawSignature, type TpmKeys } from "./keys.ts";
import { again, type Objects } from "./objects.ts";
import { pointOf, publicKeyOf } from "./public-key.ts";
import { type EccPublic, nameOf, type PublicArea, readAttestation, type TpmSignature } from "./structures.ts";
import { ENDORSEMENT_KEY } from "./templates.ts";
import type { Tpm } from "./tpm.ts";
import type { KeyFile } from "./tss2.ts";

const NOTHING = new Uint8Array(0);
const OWN_SCHEME = { type: ALG.null } as const;
/** What the early parts of a boot are measured into; on a Raspberry Pi they are all zero. */
const BOOT_PCRS = Array.from({ length: 16 }, (_, pcr) => pcr);

export interface TpmEvidence {
  certify(statement: Uint8Array): Certification;
  /** That a key was made in this TPM and cannot leave it. @param nonce of whoever wants to know, at most 32 bytes */
  attestKey(handle: KeyHandle, nonce: Uint8Array): { message: Uint8Array; signature: Uint8Array; signer: Uint8Array };
  /** Public area of the endorsement key, and name of the attestation key: what MakeCredential takes. */
  identity(): { endorsement: PublicArea; attestationName: Uint8Array };
  /** @returns what was in the credential, which proves that both keys are in this TPM */
  activateCredential(blob: Uint8Array, secret: Uint8Array): Uint8Array;
}

export function evidenceOf(
  tpm: Tpm,
  objects: Objects,
  keys: TpmKeys,
  attestation: () => KeyFile,
  seed: () => Secret,
): TpmEvidence {
  function withKey<T>(body: (key: Entity, area: EccPublic) => T): T {
    const file = attestation();
    const auth = authFrom(seed(), "attestation");
    try {
      return objects.use(file, auth, (key) => body(key, file.area as EccPublic));
    } finally {
      auth.fill(0);
    }
  }

  /** @throws ThornkeyError `TAMPERED` when it is not about what was asked, or not signed */
  function checked(message: Uint8Array, signature: TpmSignature, nonce: Uint8Array, area: EccPublic) {
    const raw = rawSignature(signature, 32);
    const { extraData } = readAttestation(message);
    if (!equal(extraData, nonce) || !verifyEcdsaDigest(publicKeyOf(area).spki, sha256(message), raw)) {
      throw new ThornkeyError(
        "TAMPERED",
        "the TPM's attestation is not about what it was asked, or is not signed by it",
      );
    }
    return { message, signature: raw, signer: pointOf(area) };
  }

  function withEndorsement<T>(body: (key: Entity, area: PublicArea) => T): T {
    return again(tpm, () => {
      objects.rest();
      return withPrimary(tpm, HANDLE.endorsement, ENDORSEMENT_KEY, body);
    });
  }

  return {
    certify: (statement) =>
      withKey((key, area) => {
        const answer = tpm.run(Quote, [key], { qualifyingData: statement, scheme: OWN_SCHEME, pcrs: BOOT_PCRS });
        const made = checked(answer.quoted, answer.signature, statement, area);
        return { format: "tpm2-quote", ...made, subject: made.signer };
      }),

    attestKey: (handle, nonce) =>
      keys.use(handle, (subject) => {
        // Both are needed at once: the attestation key beside the one that is loaded.
        const file = attestation();
        const auth = authFrom(seed(), "attestation");
        const second = tpm.startSecond();
        try {
          return objects.beside(file, auth, (key) => {
            const answer = tpm.run(Certify, [subject, key], { qualifyingData: nonce, scheme: OWN_SCHEME }, [
              "session",
              second,
            ]);
            return checked(answer.certifyInfo, answer.signature, nonce, file.area as EccPublic);
          });
        } finally {
          auth.fill(0);
          tpm.flush(second.handle);
          second.key.fill(0);
        }
      }),

    identity: () => withEndorsement((_, endorsement) => ({ endorsement, attestationName: nameOf(attestation().area) })),

    activateCredential: (blob, secret) =>
      withEndorsement((endorsement) => {
        const auth = authFrom(seed(), "attestation");
        const policy = tpm.startPolicy();
        try {
          tpm.run(PolicySecret, [plainEntity(HANDLE.endorsement), plainEntity(policy.handle)], {
            nonceTPM: NOTHING,
            cpHash: NOTHING,
            policyRef: NOTHING,
            expiration: 0,
          });
          return objects.beside(
            attestation(),
            auth,
            (key) =>
              tpm.run(ActivateCredential, [key, endorsement], { credentialBlob: blob, secret }, ["session", policy])
                .certInfo,
          );
        } finally {
          auth.fill(0);
          tpm.flush(policy.handle);
        }
      }),
  };
}
