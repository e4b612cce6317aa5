/** Signatures checked with node:crypto, and not with the vault. */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { ThornkeyError } from "../errors.ts";
import type { Digest } from "../operations/key-types.ts";
import type { SignatureSpec } from "./signer.ts";

/** Bytes of the salt of RSASSA-PSS: as long as the digest. */
export const SALT_LENGTHS: { readonly [Name in Digest]?: number } = { sha256: 32, sha384: 48, sha512: 64 };

/** @param format of ECDSA */
export function isSignature(
  { algorithm, digest }: SignatureSpec,
  publicKey: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
  format: "der" | "raw",
): boolean {
  const dsaEncoding = format === "der" ? ("der" as const) : ("ieee-p1363" as const);
  const saltLength = SALT_LENGTHS[digest ?? "sha256"] ?? 0;
  const padding = algorithm === "rsa-pss" ? { padding: 6, saltLength } : {}; // RSA_PKCS1_PSS_PADDING
  try {
    return verify(
      algorithm === "ed25519" ? null : (digest ?? null),
      message,
      { key: publicKey, dsaEncoding, ...padding },
      signature,
    );
  } catch {
    return false;
  }
}

/** @throws ThornkeyError `MALFORMED` */
export function publicKeyIn(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", "a public key of a kind that is not taken here", { cause });
  }
}
