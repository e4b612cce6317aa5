/**
 * SubjectPublicKeyInfo (RFC 5280, 5480, 8410) of the key types whose public part is a point. Each type has one form:
 * named curve, uncompressed; so the head of the structure is constant and nothing is left to a parser.
 */
import { elementsOf, TAG, unsignedDigits } from "../bytes/asn1.ts";
import { concat, equal, fromHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import { factsOf, type KeyType, sizeOf } from "./key-types.ts";

interface PointForm {
  /** All bytes before the point; of an uncompressed one, its first byte 04 included. */
  readonly head: Uint8Array;
  /** Bytes after that: X and Y, or what RFC 7748 and RFC 8032 encode. */
  readonly length: number;
}

const FORMS: { readonly [Type in KeyType]?: PointForm } = {
  p256: { head: fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), length: 64 },
  p384: { head: fromHex("3076301006072a8648ce3d020106052b8104002203620004"), length: 96 },
  p521: { head: fromHex("30819b301006072a8648ce3d020106052b810400230381860004"), length: 132 },
  secp256k1: { head: fromHex("3056301006072a8648ce3d020106052b8104000a03420004"), length: 64 },
  ed25519: { head: fromHex("302a300506032b6570032100"), length: 32 },
  x25519: { head: fromHex("302a300506032b656e032100"), length: 32 },
};

/**
 * @returns X and Y, or the 32 bytes of RFC 7748 and 8032: a view of `spki`. undefined when it is not a public key of this
 *   type in the one form. Whether the point is on the curve is not looked at.
 */
export function pointOf(type: KeyType, spki: Uint8Array): Uint8Array | undefined {
  const form = FORMS[type];
  if (form === undefined || spki.length !== form.head.length + form.length) return undefined;
  return equal(spki.subarray(0, form.head.length), form.head) ? spki.subarray(form.head.length) : undefined;
}

/**
 * @param point as {@link pointOf} gives it
 * @throws ThornkeyError `MALFORMED` when it is not as long as the type has it
 */
export function spkiOf(type: KeyType, point: Uint8Array): Uint8Array {
  const form = FORMS[type];
  if (form === undefined || point.length !== form.length) {
    throw new ThornkeyError("MALFORMED", `${point.length} bytes are no public key of type ${type}`);
  }
  return concat(form.head, point);
}

/** The rsaEncryption AlgorithmIdentifier (RFC 8017, A.1): the OID, and NULL. */
const RSA_ENCRYPTION = fromHex("06092a864886f70d0101010500");
/** Public exponents are odd, at least 65537, and no longer than this in bytes: OpenSSL takes no longer ones everywhere. */
const LONGEST_EXPONENT = 8;

export interface RsaPublic {
  /** Modulus, unsigned, big endian, exactly as long as the type has it. */
  readonly n: Uint8Array;
  /** Public exponent, without leading zeros. */
  readonly e: Uint8Array;
}

/**
 * @returns views of `spki`; undefined when it is not an RSA public key of exactly the size of the type, with an odd
 *   modulus and an odd exponent of at least 65537
 */
export function rsaPublicOf(type: KeyType, spki: Uint8Array): RsaPublic | undefined {
  if (factsOf(type).family !== "rsa") return undefined;
  try {
    const [algorithm, bits] = fieldsOf(spki, TAG.sequence, TAG.bitString);
    if (!equal(algorithm, RSA_ENCRYPTION) || bits[0] !== 0) return undefined;
    const [n, e] = fieldsOf(bits.subarray(1), TAG.integer, TAG.integer).map(unsignedDigits);
    return n !== undefined && e !== undefined && isRsaPublic(sizeOf(type), n, e) ? { n, e } : undefined;
  } catch {
    return undefined;
  }
}

/** @param size bytes of the modulus. @returns whether the numbers are within the rules of the house */
export function isRsaPublic(size: number, n: Uint8Array, e: Uint8Array): boolean {
  const odd = (number: Uint8Array) => ((number.at(-1) ?? 0) & 1) === 1;
  const longEnough = e.length > 3 || (e.length === 3 && (e[0] ?? 0) >= 1);
  return n.length === size && (n[0] ?? 0) >= 0x80 && odd(n) && odd(e) && longEnough && e.length <= LONGEST_EXPONENT;
}

/** @returns the bodies of the two elements of a SEQUENCE that fills `der`. @throws ThornkeyError `MALFORMED` */
function fieldsOf(der: Uint8Array, first: number, second: number): [Uint8Array, Uint8Array] {
  const [sequence, ...after] = elementsOf(der);
  if (sequence?.tag !== TAG.sequence || after.length > 0) throw new ThornkeyError("MALFORMED", "not a SEQUENCE");
  const [a, b, ...more] = elementsOf(sequence.body);
  if (a?.tag !== first || b?.tag !== second || more.length > 0) throw new ThornkeyError("MALFORMED", "other fields");
  return [a.body, b.body];
}
