/** Public areas of a TPM as the rest of the world writes public keys. */

import { encodeDer, integerOf, sequenceOf, TAG } from "../../bytes/asn1.ts";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { PublicKey, RootKeyType } from "../root.ts";
import { ALG, CURVE } from "./constants.ts";
import type { PublicArea } from "./structures.ts";

/** OBJECT IDENTIFIERs, their contents (RFC 5480, RFC 8017). */
const OID = {
  ecPublicKey: Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01),
  rsaEncryption: Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01),
  p256: Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07),
  p384: Uint8Array.of(0x2b, 0x81, 0x04, 0x00, 0x22),
};

interface CurveFacts {
  readonly algorithm: RootKeyType;
  /** Bytes of a coordinate. */
  readonly size: number;
  readonly oid: Uint8Array;
}

export const CURVES = new Map<number, CurveFacts>([
  [CURVE.p256, { algorithm: "p256", size: 32, oid: OID.p256 }],
  [CURVE.p384, { algorithm: "p384", size: 48, oid: OID.p384 }],
]);

const RSA_TYPES = new Map<number, RootKeyType>([
  [2048, "rsa2048"],
  [3072, "rsa3072"],
  [4096, "rsa4096"],
]);

/** 65537, which a TPM writes as 0. */
const USUAL_EXPONENT = 65537;

/** @throws ThornkeyError `NOT_SUPPORTED` for what is no key to sign or agree with */
export function publicKeyOf(area: PublicArea): PublicKey {
  const algorithm =
    area.type === ALG.ecc
      ? CURVES.get(area.curve)?.algorithm
      : area.type === ALG.rsa
        ? RSA_TYPES.get(area.keyBits)
        : undefined;
  if (algorithm === undefined) throw new ThornkeyError("NOT_SUPPORTED", "a TPM key of a kind that is not used here");
  return { algorithm, spki: spkiOf(area) };
}

/** @returns SubjectPublicKeyInfo */
export function spkiOf(area: PublicArea): Uint8Array {
  const bits = (body: Uint8Array) => ({ tag: TAG.bitString, content: [Uint8Array.of(0), body] });
  const oid = (contents: Uint8Array) => ({ tag: TAG.oid, content: [contents] });
  if (area.type === ALG.rsa) {
    const exponent = area.exponent === 0 ? USUAL_EXPONENT : area.exponent;
    const digits = Uint8Array.of(exponent >>> 24, exponent >>> 16, exponent >>> 8, exponent);
    const key = encodeDer(sequenceOf(integerOf(area.unique), integerOf(digits)));
    return encodeDer(sequenceOf(sequenceOf(oid(OID.rsaEncryption), { tag: TAG.null, content: [] }), bits(key)));
  }
  if (area.type !== ALG.ecc) throw new ThornkeyError("NOT_SUPPORTED", "a secret has no public key");
  const facts = CURVES.get(area.curve);
  if (facts === undefined) throw new ThornkeyError("NOT_SUPPORTED", `curve ${area.curve} is not used here`);
  const point = concat(Uint8Array.of(4), pointOf(area));
  return encodeDer(sequenceOf(sequenceOf(oid(OID.ecPublicKey), oid(facts.oid)), bits(point)));
}

/** @returns X and Y, each as long as the field */
export function pointOf(area: PublicArea & { readonly type: typeof ALG.ecc }): Uint8Array {
  const size = CURVES.get(area.curve)?.size ?? 0;
  return concat(leftPadded(area.unique.x, size), leftPadded(area.unique.y, size));
}

/** @throws ThornkeyError `MALFORMED` when it is longer than `size` */
export function leftPadded(number: Uint8Array, size: number): Uint8Array {
  if (number.length > size) throw new ThornkeyError("MALFORMED", "a number that is longer than its field");
  const whole = new Uint8Array(size);
  whole.set(number, size - number.length);
  return whole;
}
