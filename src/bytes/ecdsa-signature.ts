/**
 * The two forms of an ECDSA signature: r then s, each as long as the field (IEEE P1363), and ECDSA-Sig-Value in DER
 * (RFC 3279, 2.2.3).
 */
import { ThornkeyError } from "../errors.ts";
import { elementsOf, encodeDer, integerOf, sequenceOf, TAG, unsignedDigits } from "./asn1.ts";

/**
 * @param signature r then s, each half of it, any value
 * @throws ThornkeyError `MALFORMED` when it does not have two halves
 */
export function ecdsaSignatureToDer(signature: Uint8Array): Uint8Array {
  const size = signature.length / 2;
  if (!Number.isInteger(size) || size === 0) throw malformed();
  return encodeDer(sequenceOf(integerOf(signature.subarray(0, size)), integerOf(signature.subarray(size))));
}

/**
 * Strict: only the one DER form, with nothing after it.
 *
 * @param size bytes of r and of s: 66 for P-521
 * @returns r then s
 * @throws ThornkeyError `MALFORMED`
 */
export function ecdsaSignatureFromDer(der: Uint8Array, size: number): Uint8Array {
  const [sequence, ...rest] = elementsOf(der);
  if (sequence?.tag !== TAG.sequence || rest.length > 0) throw malformed();
  const numbers = elementsOf(sequence.body);
  if (numbers.length !== 2) throw malformed();
  const signature = new Uint8Array(2 * size);
  for (const [index, { tag, body }] of numbers.entries()) {
    const digits = unsignedDigits(body);
    if (tag !== TAG.integer || digits.length > size) throw malformed();
    signature.set(digits, (index + 1) * size - digits.length);
  }
  return signature;
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not an ECDSA signature of this curve");
}
