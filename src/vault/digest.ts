import { createHash, createPublicKey } from "node:crypto";
import { ThornkeyError } from "../errors.ts";
import { factsOf, type KeyType } from "../operations/key-types.ts";

export function sha256(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(data).digest());
}

/**
 * The point of a public key, for a root that agrees by itself. That it lies on the curve OpenSSL has checked.
 *
 * @param spki SubjectPublicKeyInfo, DER
 * @param type of the key it is to agree with: on the same curve
 * @returns X and Y, 64 bytes for P-256
 * @throws ThornkeyError `USAGE`
 */
export function spkiPoint(spki: Uint8Array, type: KeyType): Uint8Array {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    if (key.asymmetricKeyDetails?.namedCurve === factsOf(type).curve) {
      const { x = "", y = "" } = key.export({ format: "jwk" });
      return new Uint8Array(Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]));
    }
  } catch {
    // Falls through to the one sentence for all of it.
  }
  throw new ThornkeyError("USAGE", `the peer's key must be a public key of type ${type} (SubjectPublicKeyInfo)`);
}
