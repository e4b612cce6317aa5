/** A key's public part as a token says it, made a public key that can be relied on, and checks signatures. */
import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { concat, equal } from "../../bytes/bytes.ts";
import { ecdsaSignatureToDer } from "../../bytes/ecdsa-signature.ts";
import { ThornkeyError } from "../../errors.ts";
import { openPublicKey, type Setting } from "../../machine/openssl/native-key.ts";
import { verifyP256Digest } from "../../machine/openssl.ts";
import { DIGEST_INFO } from "../digest-info.ts";
import type { PublicKey, RootKeyType, SigningWay } from "../root.ts";
import { type Curve, KINDS } from "./kinds.ts";
import type { PublicPart } from "./objects.ts";

export interface CheckedKey {
  readonly publicKey: PublicKey;
  /** X and Y of a key on a curve. */
  readonly point: Uint8Array | undefined;
  /** Bytes of a signature. */
  readonly signatureSize: number;
  verifies(digest: Uint8Array, way: SigningWay, signature: Uint8Array): boolean;
}

/**
 * @throws ThornkeyError `MALFORMED` when it is no key, or its point is not on the curve; `NOT_SUPPORTED` for a key of
 *   another kind
 */
export function checkedKey(part: PublicPart): CheckedKey {
  let key: KeyObject;
  try {
    key = keyObjectOf(part);
  } catch (cause) {
    if (cause instanceof ThornkeyError) throw cause;
    throw new ThornkeyError("MALFORMED", "the token's public key is none", { cause });
  }
  const algorithm = algorithmOf(key);
  const spki = new Uint8Array(key.export({ type: "spki", format: "der" }));
  const kind = KINDS[algorithm];
  const point = kind.family === "ec" ? spki.slice(-2 * kind.size) : undefined;
  const signatureSize = kind.family === "ec" ? 2 * kind.size : kind.bits / 8;
  const native = openPublicKey(spki);
  return {
    publicKey: { algorithm, spki },
    point,
    signatureSize,
    verifies(digest, way, signature) {
      if (signature.length !== signatureSize) return false;
      if (native === undefined) {
        if (algorithm !== "p256" || point === undefined || way.scheme !== "ecdsa") throw unverifiable();
        return verifyP256Digest(point, digest, signature);
      }
      if (way.scheme === "ecdsa") return native.verifyDigest(ECDSA, digest, ecdsaSignatureToDer(signature));
      if (way.scheme === "rsa-pkcs1") {
        return native.verifyDigest(PKCS1, concat(DIGEST_INFO[way.digest].head, digest), signature);
      }
      return native.verifyDigest(pssSetting(way), digest, signature);
    },
  };
}

const ECDSA: Setting = { id: "ecdsa", parameters: [] };
const PKCS1: Setting = { id: "pkcs1", parameters: [["rsa_padding_mode", "pkcs1"]] };

function pssSetting({ digest, saltLength = DIGEST_INFO[digest].size }: SigningWay & { scheme: "rsa-pss" }): Setting {
  return {
    id: `pss ${digest} ${saltLength}`,
    parameters: [
      ["rsa_padding_mode", "pss"],
      ["digest", digest],
      ["rsa_mgf1_md", digest],
      ["rsa_pss_saltlen", `${saltLength}`],
    ],
  };
}

/** node:crypto looks whether a point is on its curve. */
function keyObjectOf(part: PublicPart): KeyObject {
  if (part.kind === "certificate") return new X509Certificate(part.der).publicKey;
  if (part.kind === "rsa") {
    const [n, e] = [part.modulus, part.exponent].map((number) =>
      Buffer.from(withoutZeros(number)).toString("base64url"),
    );
    return createPublicKey({ key: { kty: "RSA", n: n ?? "", e: e ?? "" }, format: "jwk" });
  }
  const curve = Object.values(KINDS).find(
    (kind): kind is Curve => kind.family === "ec" && equal(kind.parameters, part.parameters),
  );
  if (curve === undefined) throw new ThornkeyError("NOT_SUPPORTED", "the key is on a curve that is not used here");
  const point = rawPoint(part.point, curve.size);
  const [x, y] = [point.subarray(0, curve.size), point.subarray(curve.size)].map((one) =>
    Buffer.from(one).toString("base64url"),
  );
  return createPublicKey({ key: { kty: "EC", crv: curve.jwk, x: x ?? "", y: y ?? "" }, format: "jwk" });
}

/** CKA_EC_POINT is a DER OCTET STRING of the point (v2.40 Mechanisms, 2.3.3); some modules give the point itself. */
function rawPoint(bytes: Uint8Array, size: number): Uint8Array {
  const length = 1 + 2 * size;
  const point = bytes.length === length + 2 && bytes[0] === 0x04 && bytes[1] === length ? bytes.subarray(2) : bytes;
  if (point.length !== length || point[0] !== 0x04) throw new Error("not an uncompressed point");
  return point.subarray(1);
}

function withoutZeros(number: Uint8Array): Uint8Array {
  const first = number.findIndex((byte) => byte !== 0);
  return first < 0 ? new Uint8Array() : number.subarray(first);
}

function algorithmOf(key: KeyObject): RootKeyType {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  const found = (Object.keys(KINDS) as RootKeyType[]).find((type) => {
    const kind = KINDS[type];
    return kind.family === "ec"
      ? key.asymmetricKeyType === "ec" && kind.name === namedCurve
      : key.asymmetricKeyType === "rsa" && kind.bits === modulusLength;
  });
  if (found === undefined) throw new ThornkeyError("NOT_SUPPORTED", "the key is of a kind that is not used here");
  return found;
}

function unverifiable(): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", "signatures by such keys cannot be checked here: Node hides its OpenSSL");
}
