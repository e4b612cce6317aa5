/** Private keys in DER: PKCS#8 (RFC 5208, 5958), SEC1 (RFC 5915) and PKCS#1 (RFC 8017), read and written. */
import {
  type Element,
  elementsOf,
  encodeDer,
  integerOf,
  sequenceOf,
  TAG,
  type Tree,
  unsignedDigits,
} from "../../bytes/asn1.ts";
import { equal, fromHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { RsaNumbers } from "../../machine/openssl/rsa-numbers.ts";
import { KEY_TYPE_NAMES, type KeyType, sizeOf } from "../../operations/key-types.ts";
import { isRsaPublic } from "../../operations/public-keys.ts";

/** The content of AlgorithmIdentifier; of EC keys with the named curve (RFC 5480), of the others as RFC 8410 has it. */
const ALGORITHM_IDS = {
  p256: "06072a8648ce3d020106082a8648ce3d030107",
  p384: "06072a8648ce3d020106052b81040022",
  p521: "06072a8648ce3d020106052b81040023",
  secp256k1: "06072a8648ce3d020106052b8104000a",
  ed25519: "06032b6570",
  x25519: "06032b656e",
} as const;
const RSA_ENCRYPTION = fromHex("06092a864886f70d0101010500");
const CURVE_IDS = {
  p256: fromHex("2a8648ce3d030107"),
  p384: fromHex("2b81040022"),
  p521: fromHex("2b81040023"),
  secp256k1: fromHex("2b8104000a"),
} as const;
const BY_ALGORITHM: readonly (readonly [KeyType, Uint8Array])[] = Object.entries(ALGORITHM_IDS).map(([type, id]) => [
  type as KeyType,
  fromHex(id),
]);

export type CurveType = keyof typeof CURVE_IDS;
export type PointType = "ed25519" | "x25519";

const ZERO = Uint8Array.of(0);
const ONE = Uint8Array.of(1);

/** @returns the bodies of a PKCS#8 structure. @throws ThornkeyError `MALFORMED` */
export function pkcs8Parts(der: Uint8Array): { algorithm: Uint8Array; key: Uint8Array; others: readonly Element[] } {
  const [version, algorithm, key, ...others] = insideSequence(der);
  if (version?.tag !== TAG.integer || algorithm?.tag !== TAG.sequence || key?.tag !== TAG.octetString)
    throw malformed();
  return { algorithm: algorithm.body, key: key.body, others };
}

/** @returns the type of a PKCS#8 key, or undefined when it is none of ours. @throws ThornkeyError `MALFORMED` */
export function typeOfPkcs8(der: Uint8Array): KeyType | undefined {
  const { algorithm, key } = pkcs8Parts(der);
  if (equal(algorithm, RSA_ENCRYPTION)) {
    const { n, e } = rsaNumbersOf(key);
    return KEY_TYPE_NAMES.find((type) => type.startsWith("rsa") && isRsaPublic(sizeOf(type), n, e));
  }
  return BY_ALGORITHM.find(([, id]) => equal(id, algorithm))?.[0];
}

/** @param der RSAPrivateKey with two primes. @returns views. @throws ThornkeyError `MALFORMED` */
export function rsaNumbersOf(der: Uint8Array): RsaNumbers {
  const elements = insideSequence(der);
  if (elements.length !== 9 || elements.some(({ tag }) => tag !== TAG.integer)) throw malformed();
  const [version, n, e, d, p, q, dp, dq, qi] = elements.map(({ body }) => unsignedDigits(body));
  if (version === undefined || !equal(version, ZERO)) throw malformed();
  if (!(n && e && d && p && q && dp && dq && qi)) throw malformed();
  return { n, e, d, p, q, dp, dq, qi };
}

/** @returns RSAPrivateKey */
export function rsaPrivateKeyOf({ n, e, d, p, q, dp, dq, qi }: RsaNumbers): Uint8Array {
  return encodeDer(sequenceOf(...[ZERO, n, e, d, p, q, dp, dq, qi].map(integerOf)));
}

/** @param d of any length up to the field's. @param point X and Y. @returns ECPrivateKey */
export function ecPrivateKeyOf(type: CurveType, d: Uint8Array, point: Uint8Array): Uint8Array {
  const size = sizeOf(type);
  if (d.length > size || point.length !== 2 * size) throw malformed();
  const curve: Tree = { tag: TAG.oid, content: [CURVE_IDS[type]] };
  const publicKey: Tree = { tag: TAG.bitString, content: [Uint8Array.of(0, 4), point] };
  return encodeDer(
    sequenceOf(
      { tag: TAG.integer, content: [ONE] },
      { tag: TAG.octetString, content: [new Uint8Array(size - d.length), d] },
      { tag: TAG.context0, content: [curve] },
      { tag: TAG.context1, content: [publicKey] },
    ),
  );
}

/** @param seed 32 bytes. @returns PKCS#8 (RFC 8410) */
export function pointPrivateKeyOf(type: PointType, seed: Uint8Array): Uint8Array {
  if (seed.length !== 32) throw malformed();
  const inner: Tree = { tag: TAG.octetString, content: [seed] };
  return encodeDer(
    sequenceOf(
      { tag: TAG.integer, content: [ZERO] },
      { tag: TAG.sequence, content: [fromHex(ALGORITHM_IDS[type])] },
      { tag: TAG.octetString, content: [inner] },
    ),
  );
}

/**
 * @param der PKCS#8 of a curve's key, as this file or OpenSSL writes it
 * @returns the number, or the 32 bytes of RFC 8032: a copy, to be zeroed
 * @throws ThornkeyError `MALFORMED`
 */
export function rawPrivateKeyOf(der: Uint8Array): Uint8Array {
  const { key } = pkcs8Parts(der);
  const [whole] = elementsOf(key);
  const octets = whole?.tag === TAG.sequence ? elementsOf(whole.body)[1] : whole;
  if (octets?.tag !== TAG.octetString) throw malformed();
  return new Uint8Array(octets.body);
}

/** @returns the elements in the one SEQUENCE that fills `der`. @throws ThornkeyError `MALFORMED` */
export function insideSequence(der: Uint8Array): Element[] {
  const [sequence, ...after] = elementsOf(der);
  if (sequence?.tag !== TAG.sequence || after.length > 0) throw malformed();
  return elementsOf(sequence.body);
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not a private key in PKCS#8, SEC1 or PKCS#1");
}
