/**
 * MakeCredential without a TPM (Part 1, 24.4; annex C.6.3): what a verifier sends so that only the TPM with this
 * endorsement key can read it, and only when the attestation key is in it too.
 */
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { bytes2b, encode } from "./codec.ts";
import { ALG, CURVE } from "./constants.ts";
import { encryptCfb, hmacSha256, kdfa } from "./kdf.ts";
import { ephemeral } from "./session.ts";
import type { PublicArea } from "./structures.ts";

/**
 * @param endorsement public area of the endorsement key, P-256
 * @param name of the attestation key, 34 bytes
 * @param credential at most 32 bytes
 * @returns what ActivateCredential takes: TPM2B contents both
 */
export function makeCredential(
  endorsement: PublicArea,
  name: Uint8Array,
  credential: Uint8Array,
): { blob: Uint8Array; secret: Uint8Array } {
  if (endorsement.type !== ALG.ecc || endorsement.curve !== CURVE.p256) {
    throw new ThornkeyError("NOT_SUPPORTED", "credentials are made for endorsement keys on P-256");
  }
  const nothing = new Uint8Array(0);
  const { salt: seed, point: secret } = ephemeral(endorsement.unique, "IDENTITY");
  const key = kdfa(seed, "STORAGE", name, nothing, 128);
  const encrypted = encryptCfb(key, new Uint8Array(16), encode(bytes2b, credential));
  const mac = hmacSha256(kdfa(seed, "INTEGRITY", nothing, nothing, 256), encrypted, name);
  seed.fill(0);
  key.fill(0);
  return { blob: concat(encode(bytes2b, mac), encrypted), secret };
}
