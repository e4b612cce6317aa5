/** Private keys that programs describe, in the forms that the vault takes in (RFC 5915, RFC 8017 A.1.2). */
import { encodeDer, integerOf, sequenceOf, TAG } from "../../bytes/asn1.ts";
import { type KeyType, sizeOf } from "../../operations/key-types.ts";
import { CKA, CKK, CKR } from "./constants.ts";
import { typeOfCurve, withoutZeros } from "./public-part.ts";
import { refuse } from "./refusals.ts";
import { bytesNeeded, numberIn, type Template } from "./template.ts";

const RSA_NUMBERS = [
  ...[CKA.MODULUS, CKA.PUBLIC_EXPONENT, CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2],
  ...[CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT],
];

export interface PrivateMaterial {
  readonly type: KeyType;
  /** The caller's to zero. */
  readonly material: Uint8Array;
}

/** @throws Refusal CKR_TEMPLATE_INCOMPLETE, CKR_CURVE_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE, CKR_ATTRIBUTE_VALUE_INVALID */
export function privateMaterialOf(template: Template): PrivateMaterial {
  switch (numberIn(template, CKA.KEY_TYPE)) {
    case CKK.RSA: {
      const numbers = RSA_NUMBERS.map((type) => integerOf(bytesNeeded(template, type)));
      const type = rsaTypeOf(8 * withoutZeros(bytesNeeded(template, CKA.MODULUS)).length);
      return { type, material: encodeDer(sequenceOf(integerOf(Uint8Array.of(0)), ...numbers)) };
    }
    case CKK.EC: {
      const params = bytesNeeded(template, CKA.EC_PARAMS);
      const type = typeOfCurve(params) ?? refuse(CKR.CURVE_NOT_SUPPORTED);
      const given = withoutZeros(bytesNeeded(template, CKA.VALUE));
      const size = sizeOf(type);
      if (given.length > size) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
      const scalar = new Uint8Array(size);
      scalar.set(given, size - given.length);
      const material = encodeDer(
        sequenceOf(
          integerOf(Uint8Array.of(1)),
          { tag: TAG.octetString, content: [scalar] },
          { tag: TAG.context0, content: [params] },
        ),
      );
      scalar.fill(0);
      return { type, material };
    }
    case undefined:
      return refuse(CKR.TEMPLATE_INCOMPLETE);
    default:
      return refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  }
}

/** @throws Refusal CKR_KEY_SIZE_RANGE */
export function rsaTypeOf(bits: number): KeyType {
  const types: { readonly [bits: number]: KeyType } = { 2048: "rsa2048", 3072: "rsa3072", 4096: "rsa4096" };
  return types[bits] ?? refuse(CKR.KEY_SIZE_RANGE);
}
