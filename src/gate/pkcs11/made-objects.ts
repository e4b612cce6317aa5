/** Objects that programs describe themselves: public and secret keys, certificates, data. */
import { Secret } from "../../bytes/secret.ts";
import type { NewObject } from "./application.ts";
import type { AttributeValue } from "./attributes.ts";
import { checkValueOf, partsOfCertificate } from "./certificate.ts";
import { CKA, CKC_X_509, CKK, CKO, CKR, UNAVAILABLE } from "./constants.ts";
import { idOf, KEY_TYPE_OF, type PublicPart, partOfModulus, partOfPoint, rsaNumbersOf } from "./public-part.ts";
import { refuse } from "./refusals.ts";
import { bytesIn, bytesNeeded, flagIn, mustBe, numberIn, type Template } from "./template.ts";

type Attributes = Map<number, AttributeValue>;

const NO_BYTES = new Uint8Array(0);
const NOTHING_HIDDEN: ReadonlySet<number> = new Set();
const VALUE_HIDDEN: ReadonlySet<number> = new Set([CKA.VALUE]);

/** What every object has; `own` says what its class adds, and a template what is different. */
function attributesOf(cls: number, template: Template, own: Iterable<readonly [number, AttributeValue]>): Attributes {
  const attributes: Attributes = new Map<number, AttributeValue>([
    [CKA.TOKEN, false],
    [CKA.PRIVATE, false],
    [CKA.MODIFIABLE, true],
    [CKA.COPYABLE, true],
    [CKA.DESTROYABLE, true],
    [CKA.LABEL, NO_BYTES],
    ...own,
    ...template,
    [CKA.CLASS, cls],
  ]);
  return attributes;
}

/** What a key has that was not made here. */
const FOREIGN: readonly (readonly [number, AttributeValue])[] = [
  [CKA.ID, NO_BYTES],
  [CKA.START_DATE, NO_BYTES],
  [CKA.END_DATE, NO_BYTES],
  [CKA.LOCAL, false],
  [CKA.KEY_GEN_MECHANISM, UNAVAILABLE],
  [CKA.DERIVE, false],
];

/** @throws Refusal CKR_TEMPLATE_INCOMPLETE, CKR_ATTRIBUTE_VALUE_INVALID, CKR_CURVE_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE */
export function publicPartOf(template: Template): PublicPart {
  const type = numberIn(template, CKA.KEY_TYPE) ?? refuse(CKR.TEMPLATE_INCOMPLETE);
  if (type === CKK.RSA) {
    return partOfModulus(bytesNeeded(template, CKA.MODULUS), bytesNeeded(template, CKA.PUBLIC_EXPONENT));
  }
  const part = partOfPoint(bytesNeeded(template, CKA.EC_PARAMS), bytesNeeded(template, CKA.EC_POINT));
  return KEY_TYPE_OF[part.family] === type ? part : refuse(CKR.TEMPLATE_INCONSISTENT);
}

export function publicKeyObject(template: Template, part: PublicPart): NewObject {
  const rsa = part.family === "rsa";
  const numbers: [number, AttributeValue][] = [];
  if (rsa) {
    const { n, e } = rsaNumbersOf(part.spki);
    const bits = 8 * n.length - Math.clz32(n[0] ?? 0) + 24;
    numbers.push([CKA.MODULUS, n], [CKA.PUBLIC_EXPONENT, e], [CKA.MODULUS_BITS, bits]);
  }
  const attributes = attributesOf(CKO.PUBLIC_KEY, template, [
    ...FOREIGN,
    [CKA.ID, idOf(part.spki)],
    [CKA.SUBJECT, NO_BYTES],
    [CKA.ENCRYPT, rsa],
    [CKA.VERIFY, true],
    [CKA.VERIFY_RECOVER, rsa],
    [CKA.WRAP, rsa],
    [CKA.TRUSTED, false],
  ]);
  for (const [type, value] of numbers) attributes.set(type, value);
  attributes.set(CKA.PUBLIC_KEY_INFO, part.spki);
  return { attributes, hidden: NOTHING_HIDDEN, backing: { kind: "public", part, key: undefined } };
}

/** How long secret keys may be, in bytes. */
const SECRET_BYTES: { readonly [Type in number]?: (length: number) => boolean } = {
  [CKK.AES]: (length) => length === 16 || length === 24 || length === 32,
  [CKK.GENERIC_SECRET]: (length) => length >= 1 && length <= 1024,
};

/** @throws Refusal CKR_TEMPLATE_INCOMPLETE, CKR_ATTRIBUTE_VALUE_INVALID */
export function secretTypeOf(template: Template): number {
  const type = numberIn(template, CKA.KEY_TYPE) ?? refuse(CKR.TEMPLATE_INCOMPLETE);
  return SECRET_BYTES[type] === undefined ? refuse(CKR.ATTRIBUTE_VALUE_INVALID) : type;
}

/**
 * @param value taken over
 * @param origin whether the value was made here, and by which mechanism
 * @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID for a length the type does not have
 */
export function secretKeyObject(
  template: Template,
  value: Uint8Array,
  origin: { readonly local: boolean; readonly mechanism: number; readonly inside: boolean },
): NewObject {
  const type = secretTypeOf(template);
  if (!SECRET_BYTES[type]?.(value.length)) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  mustBe(template, CKA.VALUE_LEN, value.length);
  const sensitive = flagIn(template, CKA.SENSITIVE, false);
  const extractable = flagIn(template, CKA.EXTRACTABLE, true);
  const aes = type === CKK.AES;
  const attributes = attributesOf(CKO.SECRET_KEY, template, [
    ...FOREIGN,
    [CKA.PRIVATE, true],
    [CKA.ENCRYPT, aes],
    [CKA.DECRYPT, aes],
    [CKA.WRAP, aes],
    [CKA.UNWRAP, aes],
    [CKA.SIGN, !aes],
    [CKA.VERIFY, !aes],
    [CKA.TRUSTED, false],
    [CKA.WRAP_WITH_TRUSTED, false],
  ]);
  attributes.set(CKA.VALUE_LEN, value.length);
  attributes.set(CKA.SENSITIVE, sensitive);
  attributes.set(CKA.EXTRACTABLE, extractable);
  attributes.set(CKA.ALWAYS_SENSITIVE, sensitive && origin.inside);
  attributes.set(CKA.NEVER_EXTRACTABLE, !extractable && origin.inside);
  attributes.set(CKA.LOCAL, origin.local);
  attributes.set(CKA.KEY_GEN_MECHANISM, origin.local ? origin.mechanism : UNAVAILABLE);
  const hides = sensitive || !extractable;
  if (hides) attributes.delete(CKA.VALUE);
  else attributes.set(CKA.VALUE, value);
  return {
    attributes,
    hidden: hides ? VALUE_HIDDEN : NOTHING_HIDDEN,
    backing: { kind: "value", value: new Secret(value) },
  };
}

/** What a certificate says of itself goes before what a template says of it. */
export function certificateAttributes(template: Template): Attributes {
  const value = bytesNeeded(template, CKA.VALUE);
  if ((numberIn(template, CKA.CERTIFICATE_TYPE) ?? CKC_X_509) !== CKC_X_509) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  const { serial, issuer, subject, spki } = partsOfCertificate(value);
  const given = bytesIn(template, CKA.ID);
  const attributes = attributesOf(CKO.CERTIFICATE, template, [
    [CKA.CERTIFICATE_TYPE, CKC_X_509],
    [CKA.TRUSTED, false],
    [CKA.CERTIFICATE_CATEGORY, 0],
    [CKA.JAVA_MIDP_SECURITY_DOMAIN, 0],
    [CKA.URL, NO_BYTES],
    [CKA.START_DATE, NO_BYTES],
    [CKA.END_DATE, NO_BYTES],
  ]);
  attributes.set(CKA.ID, given === undefined || given.length === 0 ? idOf(spki) : given);
  attributes.set(CKA.SERIAL_NUMBER, serial);
  attributes.set(CKA.ISSUER, issuer);
  attributes.set(CKA.SUBJECT, subject);
  attributes.set(CKA.PUBLIC_KEY_INFO, spki);
  attributes.set(CKA.CHECK_VALUE, checkValueOf(value));
  return attributes;
}

export function dataAttributes(template: Template): Attributes {
  return attributesOf(CKO.DATA, template, [
    [CKA.APPLICATION, NO_BYTES],
    [CKA.OBJECT_ID, NO_BYTES],
    [CKA.VALUE, NO_BYTES],
  ]);
}

/** A certificate or data that lives as long as its session. */
export function keptObject(attributes: Attributes): NewObject {
  return { attributes, hidden: NOTHING_HIDDEN, backing: { kind: "kept" } };
}
