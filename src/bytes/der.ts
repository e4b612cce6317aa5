import { ThornkeyError } from "../errors.ts";
import { concat, equal } from "./bytes.ts";

const TAG_INTEGER = 0x02;
const TAG_SEQUENCE = 0x30;
/** The length follows in one byte (X.690, 8.1.3.5). */
const LONG_FORM = 0x81;

/** Size in bytes of a coordinate of P-256, and of each half of a signature. */
const P256_SIZE = 32;
/** Size in bytes of the order of P-521, the largest there is. */
const LARGEST_SIZE = 66;

/** SubjectPublicKeyInfo of P-256 up to the coordinates: id-ecPublicKey, prime256v1, BIT STRING, 04 (uncompressed). */
const P256_SPKI_HEAD = Uint8Array.of(
  ...[0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
  ...[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04],
);

/**
 * The SubjectPublicKeyInfo of a P-256 public key (RFC 5480). Whether the point is on the curve is not looked at.
 *
 * @param publicKey X then Y, 64 bytes
 * @returns 91 bytes
 * @throws RangeError when it is not 64 bytes long
 */
export function p256Spki(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== 2 * P256_SIZE) throw new RangeError(`a P-256 public key of ${publicKey.length} bytes`);
  return concat(P256_SPKI_HEAD, publicKey);
}

/**
 * The reverse of {@link p256Spki}, strict.
 *
 * @returns X then Y, 64 bytes
 * @throws ThornkeyError `MALFORMED` for every other kind of key, and every other form of this one
 */
export function p256Point(spki: Uint8Array): Uint8Array {
  const point = spki.slice(P256_SPKI_HEAD.length);
  if (point.length === 2 * P256_SIZE && equal(spki.subarray(0, P256_SPKI_HEAD.length), P256_SPKI_HEAD)) return point;
  throw new ThornkeyError("MALFORMED", "not the public key of a P-256 key");
}

/**
 * ECDSA-Sig-Value (RFC 3279, 2.2.3) of a signature on any curve.
 *
 * @param signature r then s, equally long, any value; at most 66 bytes each
 * @returns DER
 * @throws RangeError when it is of no such length
 */
export function ecdsaSignatureToDer(signature: Uint8Array): Uint8Array {
  const size = signature.length / 2;
  if (!Number.isInteger(size) || size === 0 || size > LARGEST_SIZE) {
    throw new RangeError(`an ECDSA signature of ${signature.length} bytes`);
  }
  const body = concat(integer(signature.subarray(0, size)), integer(signature.subarray(size)));
  return concat(Uint8Array.of(TAG_SEQUENCE, ...(body.length < 0x80 ? [] : [LONG_FORM]), body.length), body);
}

/**
 * The reverse of {@link ecdsaSignatureToDer}, strict: only the one DER form of two numbers of at most `size` bytes is
 * taken, with nothing after it.
 *
 * @param der ECDSA-Sig-Value
 * @param size bytes of the curve's order, at most 66
 * @returns r then s, 2 * size bytes
 * @throws ThornkeyError `MALFORMED`
 */
export function ecdsaSignatureFromDer(der: Uint8Array, size: number): Uint8Array {
  // Only the length of the whole can be 128 or more, for a curve of more than 488 bits.
  const long = der[1] === LONG_FORM;
  const start = long ? 3 : 2;
  const declared = der[start - 1] ?? 0;
  if (der[0] !== TAG_SEQUENCE || declared !== der.length - start || declared >= 0x80 !== long) throw malformed();
  const signature = new Uint8Array(2 * size);
  let position = start;
  for (let end = size; end <= 2 * size; end += size) {
    const length = der[position + 1] ?? 0;
    const value = der.subarray(position + 2, position + 2 + length);
    if (der[position] !== TAG_INTEGER || length === 0 || value.length !== length) throw malformed();
    const [first = 0, second] = value;
    const negative = first >= 0x80;
    const padded = first === 0 && second !== undefined;
    if (negative || (padded && second < 0x80)) throw malformed();
    const digits = padded ? value.subarray(1) : value;
    if (digits.length > size) throw malformed();
    signature.set(digits, end - digits.length);
    position += 2 + length;
  }
  if (position !== der.length) throw malformed();
  return signature;
}

/** {@link ecdsaSignatureToDer} for P-256: takes 64 bytes, gives 8 to 72. */
export function p256SignatureToDer(signature: Uint8Array): Uint8Array {
  if (signature.length !== 2 * P256_SIZE) throw new RangeError(`a P-256 signature of ${signature.length} bytes`);
  return ecdsaSignatureToDer(signature);
}

/** {@link ecdsaSignatureFromDer} for P-256: gives 64 bytes. */
export function p256SignatureFromDer(der: Uint8Array): Uint8Array {
  return ecdsaSignatureFromDer(der, P256_SIZE);
}

/** DER INTEGER of an unsigned big-endian number: no leading zero byte but the one that keeps it positive. */
function integer(number: Uint8Array): Uint8Array {
  let start = 0;
  while (start < number.length - 1 && number[start] === 0) start++;
  const digits = number.subarray(start);
  const sign = (digits[0] ?? 0) >= 0x80 ? [0] : [];
  return Uint8Array.of(TAG_INTEGER, sign.length + digits.length, ...sign, ...digits);
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "An ECDSA signature is not in DER, or not of this curve.");
}
