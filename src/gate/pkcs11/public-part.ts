/** Public keys as PKCS#11 has them, and as SubjectPublicKeyInfo (RFC 5280, 5480, 8017, 8410). */
import { createHash } from "node:crypto";
import { elementsOf, encodeDer, integerOf, sequenceOf, TAG, unsignedDigits } from "../../bytes/asn1.ts";
import { concat, equal, fromHex } from "../../bytes/bytes.ts";
import { factsOf, type KeyFamily, type KeyType, sizeOf } from "../../operations/key-types.ts";
import { pointOf, spkiOf } from "../../operations/public-keys.ts";
import { CKK, CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

export interface PublicPart {
  readonly family: KeyFamily;
  /** Bytes of the modulus or of the field. */
  readonly size: number;
  readonly spki: Uint8Array;
}

/** Of a type whose public part is a point: CKA_EC_PARAMS, the curve's OID in DER. */
export const EC_PARAMS: { readonly [Type in KeyType]?: Uint8Array } = {
  p256: fromHex("06082a8648ce3d030107"),
  p384: fromHex("06052b81040022"),
  p521: fromHex("06052b81040023"),
  secp256k1: fromHex("06052b8104000a"),
  ed25519: fromHex("06032b6570"),
  x25519: fromHex("06032b656e"),
};

export const KEY_TYPE_OF: { readonly [Family in KeyFamily]: number } = {
  ec: CKK.EC,
  rsa: CKK.RSA,
  edwards: CKK.EC_EDWARDS,
  montgomery: CKK.EC_MONTGOMERY,
  symmetric: CKK.GENERIC_SECRET,
};

const UNCOMPRESSED = Uint8Array.of(4);
const RSA_ENCRYPTION = fromHex("300d06092a864886f70d0101010500");
/** Bytes of a modulus that is taken for checking signatures. */
const MODULUS = { least: 128, most: 512 } as const;

/** @returns the type whose curve this is, or undefined */
export function typeOfCurve(params: Uint8Array): KeyType | undefined {
  for (const [type, oid] of Object.entries(EC_PARAMS)) if (equal(oid, params)) return type as KeyType;
  return undefined;
}

export function partOf(type: KeyType, spki: Uint8Array): PublicPart {
  return { family: factsOf(type).family, size: sizeOf(type), spki };
}

/** @returns CKA_EC_POINT of a public key whose type has points: an OCTET STRING */
export function ecPointOf(type: KeyType, spki: Uint8Array): Uint8Array | undefined {
  const point = pointOf(type, spki);
  if (point === undefined) return undefined;
  const bytes = factsOf(type).family === "ec" ? concat(UNCOMPRESSED, point) : point;
  return encodeDer({ tag: TAG.octetString, content: [bytes] });
}

/**
 * @param params CKA_EC_PARAMS
 * @param given CKA_EC_POINT, or the point itself
 * @throws Refusal CKR_CURVE_NOT_SUPPORTED, CKR_ATTRIBUTE_VALUE_INVALID
 */
export function partOfPoint(params: Uint8Array, given: Uint8Array): PublicPart {
  const type = typeOfCurve(params) ?? refuse(CKR.CURVE_NOT_SUPPORTED);
  return partOf(type, spkiOfPoint(type, given));
}

/** @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID when it is no point of this form, raw or in an OCTET STRING */
export function spkiOfPoint(type: KeyType, given: Uint8Array): Uint8Array {
  const ec = factsOf(type).family === "ec";
  const length = ec ? 1 + 2 * sizeOf(type) : sizeOf(type);
  const point = given.length === length ? given : octetsOf(given);
  if (point.length !== length || (ec && point[0] !== 4)) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  return spkiOf(type, ec ? point.subarray(1) : point);
}

function octetsOf(given: Uint8Array): Uint8Array {
  try {
    const [octets, ...more] = elementsOf(given);
    if (octets?.tag === TAG.octetString && more.length === 0) return octets.body;
  } catch {
    // It is not DER.
  }
  return refuse(CKR.ATTRIBUTE_VALUE_INVALID);
}

/** @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE */
export function partOfModulus(modulus: Uint8Array, exponent: Uint8Array): PublicPart {
  const n = withoutZeros(modulus);
  const e = withoutZeros(exponent);
  if (n.length < MODULUS.least || n.length > MODULUS.most) refuse(CKR.KEY_SIZE_RANGE);
  if (e.length === 0 || e.length > 8) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  const key = encodeDer(sequenceOf(integerOf(n), integerOf(e)));
  const bits = { tag: TAG.bitString, content: [Uint8Array.of(0), key] };
  const [algorithm] = elementsOf(RSA_ENCRYPTION);
  if (algorithm === undefined) throw new Error("no algorithm");
  return {
    family: "rsa",
    size: n.length,
    spki: encodeDer(sequenceOf({ tag: algorithm.tag, content: [algorithm.body] }, bits)),
  };
}

export function withoutZeros(number: Uint8Array): Uint8Array {
  let start = 0;
  while (number[start] === 0) start++;
  return number.subarray(start);
}

/** Content of the BIT STRING of a SubjectPublicKeyInfo. */
function bitsOf(spki: Uint8Array): Uint8Array {
  const [whole] = elementsOf(spki);
  const [, bits] = elementsOf(whole?.body ?? new Uint8Array(0));
  return bits?.body.subarray(1) ?? new Uint8Array(0);
}

/** @returns modulus and exponent, without leading zeros. @throws ThornkeyError `MALFORMED` */
export function rsaNumbersOf(spki: Uint8Array): { n: Uint8Array; e: Uint8Array } {
  const [sequence] = elementsOf(bitsOf(spki));
  const [n, e] = elementsOf(sequence?.body ?? new Uint8Array(0)).map(({ body }) => unsignedDigits(body));
  return { n: n ?? new Uint8Array(0), e: e ?? new Uint8Array(0) };
}

/**
 * CKA_ID of a private key, of its public key and of its certificates: the key identifier of RFC 5280, 4.2.1.2, method 1.
 *
 * @returns 20 bytes
 */
export function idOf(spki: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha1").update(bitsOf(spki)).digest());
}
