/** A key of the vault that signs documents. */
import { createHash } from "node:crypto";
import type { Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { type Digest, type KeyType, signatureAlgorithmsOf } from "../operations/key-types.ts";

export interface SignatureSpec {
  readonly algorithm: "ecdsa" | "rsa-pkcs1" | "rsa-pss" | "ed25519";
  /** Of all but Ed25519, which hashes by itself. */
  readonly digest?: Digest | undefined;
}

export interface Signer {
  /** Its whole name: `tls`, `acme/tls`. */
  readonly name: string;
  readonly id: string;
  readonly type: KeyType;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /**
   * @returns the signature; ECDSA in DER or as r then s
   * @throws ThornkeyError what the vault says
   */
  sign(message: Uint8Array, spec: SignatureSpec, format: "der" | "raw"): Promise<Uint8Array>;
}

/** What Ed25519 is given whole, because it hashes twice: bytes at most. */
const MOST_WHOLE = 60_000;

/**
 * Asks the vault for what is public of a key.
 *
 * @throws ThornkeyError `KEY_NOT_FOUND`; `NOT_SUPPORTED` for a key that signs nothing
 */
export async function signerOf(vault: Thornkey, key: string): Promise<Signer> {
  const { id, name, type, publicKey } = await vault.keys.show(key);
  if (type === "storage" || publicKey === undefined || signatureAlgorithmsOf(type).length === 0) {
    throw new ThornkeyError("NOT_SUPPORTED", `${key} is a key of the type ${type}, and signs nothing`, {
      hint: "p256, p384, p521, secp256k1, ed25519 and rsa keys sign",
    });
  }
  return {
    ...{ id, name, type, publicKey },
    sign(message, { algorithm, digest }, format) {
      const form = algorithm === "ecdsa" ? { format } : {};
      if (digest !== undefined) {
        // Only the digest goes to the vault, however long the document is.
        const data = new Uint8Array(createHash(digest).update(message).digest());
        return vault.key(id).sign(data, { algorithm, digest, digested: true, ...form });
      }
      if (message.length > MOST_WHOLE) {
        throw new ThornkeyError("LIMIT_REACHED", `Ed25519 signs ${MOST_WHOLE} bytes at most, not ${message.length}`, {
          hint: "use a key of another type for documents of this size",
        });
      }
      return vault.key(id).sign(message, { algorithm });
    },
  };
}
