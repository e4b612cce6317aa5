import {
  constants,
  createECDH,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  sign,
} from "node:crypto";
import { p256, p384 } from "@noble/curves/nist.js";
import { elementsOf } from "../../bytes/asn1.ts";
import type { Algorithm, PinPolicy } from "./slots.ts";

export interface Key {
  readonly algorithm: Algorithm;
  /** PrivateKeyInfo (RFC 5208). */
  readonly pkcs8: Uint8Array;
  readonly pin: PinPolicy;
  /** Whether a finger must be on the card at every use. */
  readonly touch: boolean;
}

/** @returns PrivateKeyInfo of a new key */
export function makeKey(algorithm: Algorithm): Uint8Array {
  const { privateKey } =
    algorithm === "RSA-2048"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : generateKeyPairSync("ec", { namedCurve: CURVES[algorithm].name });
  return new Uint8Array(privateKey.export({ format: "der", type: "pkcs8" }));
}

export function publicKeyOf(pkcs8: Uint8Array): KeyObject {
  return createPublicKey(privateKeyOf(pkcs8));
}

/** @returns the uncompressed point of an EC key */
export function pointOf(curve: EcCurve, pkcs8: Uint8Array): Uint8Array {
  const ecdh = createECDH(CURVES[curve].name);
  ecdh.setPrivateKey(scalarOf(pkcs8));
  return new Uint8Array(ecdh.getPublicKey());
}

/** Signs a message, not a digest: for certificates. @returns ECDSA in DER, or RSA PKCS #1 v1.5 */
export function signMessage(key: Pick<Key, "algorithm" | "pkcs8">, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign(key.algorithm === "P-384" ? "sha384" : "sha256", message, privateKeyOf(key.pkcs8)));
}

/** @returns the block to the power of the private exponent; undefined when it is not as long as the modulus, or not less */
export function rawRsa(pkcs8: Uint8Array, block: Uint8Array): Uint8Array | undefined {
  if (block.length !== RSA_SIZE) return undefined;
  try {
    return privateDecrypt({ key: privateKeyOf(pkcs8), padding: constants.RSA_NO_PADDING }, block);
  } catch {
    return undefined;
  }
}

/**
 * ECDSA over a digest, which node:crypto cannot do.
 *
 * @param digest at least one byte and at most the size of the field
 * @returns ECDSA-Sig-Value in DER; undefined for a digest of another length
 */
export function signDigest(curve: EcCurve, pkcs8: Uint8Array, digest: Uint8Array): Uint8Array | undefined {
  const { size, arithmetic } = CURVES[curve];
  if (digest.length === 0 || digest.length > size) return undefined;
  return arithmetic.sign(digest, scalarOf(pkcs8), { prehash: false, lowS: false, format: "der" });
}

/**
 * ECDH (SP 800-56A, 5.7.1.2).
 *
 * @param point uncompressed
 * @returns the X coordinate, as long as the field; undefined when the point is in another form or not on the curve
 */
export function agree(curve: EcCurve, pkcs8: Uint8Array, point: Uint8Array): Uint8Array | undefined {
  const { name, size } = CURVES[curve];
  if (point[0] !== UNCOMPRESSED || point.length !== 1 + 2 * size) return undefined;
  const ecdh = createECDH(name);
  ecdh.setPrivateKey(scalarOf(pkcs8));
  try {
    return new Uint8Array(ecdh.computeSecret(point));
  } catch {
    return undefined;
  }
}

export type EcCurve = Exclude<Algorithm, "RSA-2048">;

const CURVES = {
  "P-256": { name: "prime256v1", size: 32, arithmetic: p256 },
  "P-384": { name: "secp384r1", size: 48, arithmetic: p384 },
} as const;
const RSA_SIZE = 256;
const UNCOMPRESSED = 0x04;

function privateKeyOf(pkcs8: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
}

/** ECPrivateKey (RFC 5915) in the third element of PrivateKeyInfo; the scalar is its second. */
function scalarOf(pkcs8: Uint8Array): Uint8Array {
  const inside = (body: Uint8Array | undefined, index: number) => elementsOf(body ?? new Uint8Array(0))[index]?.body;
  const scalar = inside(inside(inside(inside(pkcs8, 0), 2), 0), 1);
  if (!scalar) throw new TypeError("not an EC key");
  return scalar;
}
