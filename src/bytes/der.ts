import { ThornkeyError } from "../errors.ts";
import { concat } from "./bytes.ts";

const TAG_INTEGER = 0x02;
const TAG_SEQUENCE = 0x30;

/** Size in bytes of a coordinate of P-256, and of each half of a signature. */
const P256_SIZE = 32;

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
 * ECDSA-Sig-Value (RFC 3279, 2.2.3) of a P-256 signature.
 *
 * @param signature r then s, 64 bytes, any value
 * @returns DER, 8 to 72 bytes
 * @throws RangeError when it is not 64 bytes long
 */
export function p256SignatureToDer(signature: Uint8Array): Uint8Array {
  if (signature.length !== 2 * P256_SIZE) throw new RangeError(`a P-256 signature of ${signature.length} bytes`);
  const body = concat(integer(signature.subarray(0, P256_SIZE)), integer(signature.subarray(P256_SIZE)));
  return concat(Uint8Array.of(TAG_SEQUENCE, body.length), body);
}

/**
 * The reverse of {@link p256SignatureToDer}, strict: only the one DER form of two numbers from 0 to 2^256-1 is taken,
 * with nothing after it.
 *
 * @param der ECDSA-Sig-Value
 * @returns r then s, 64 bytes
 * @throws ThornkeyError `MALFORMED`
 */
export function p256SignatureFromDer(der: Uint8Array): Uint8Array {
  // All lengths are below 128, so each is one byte.
  if (der[0] !== TAG_SEQUENCE || der[1] !== der.length - 2) throw malformed();
  const signature = new Uint8Array(2 * P256_SIZE);
  let position = 2;
  for (let end = P256_SIZE; end <= 2 * P256_SIZE; end += P256_SIZE) {
    const length = der[position + 1] ?? 0;
    const value = der.subarray(position + 2, position + 2 + length);
    if (der[position] !== TAG_INTEGER || length === 0 || value.length !== length) throw malformed();
    const [first = 0, second] = value;
    const negative = first >= 0x80;
    const padded = first === 0 && second !== undefined;
    if (negative || (padded && second < 0x80)) throw malformed();
    const digits = padded ? value.subarray(1) : value;
    if (digits.length > P256_SIZE) throw malformed();
    signature.set(digits, end - digits.length);
    position += 2 + length;
  }
  if (position !== der.length) throw malformed();
  return signature;
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
  return new ThornkeyError("MALFORMED", "An ECDSA signature is not in the DER form of a P-256 signature.");
}
