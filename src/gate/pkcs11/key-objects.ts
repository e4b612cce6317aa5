/** The objects that keys of the vault are to programs, with the attributes PKCS#11 v2.40 has for each. */
import { factsOf, type KeyUse } from "../../operations/key-types.ts";
import type { AttributeValue } from "./attributes.ts";
import { CKA, CKK, CKM, CKO, UNAVAILABLE } from "./constants.ts";
import type { Handles } from "./handles.ts";
import type { KeyFacts } from "./key-facts.ts";
import type { TokenObject } from "./object.ts";
import { mechanismsOf } from "./permissions.ts";
import { EC_PARAMS, ecPointOf, idOf, KEY_TYPE_OF, partOf, rsaNumbersOf } from "./public-part.ts";

type Attributes = [type: number, value: AttributeValue][];

const NO_BYTES = new Uint8Array(0);

/** What shows of a private part: that it is there. */
const HIDDEN: ReadonlySet<number> = new Set([
  ...[CKA.VALUE, CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2, CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT],
]);
const NOTHING_HIDDEN: ReadonlySet<number> = new Set();

const GENERATED_BY: { readonly [Type in number]?: number } = {
  [CKK.RSA]: CKM.RSA_PKCS_KEY_PAIR_GEN,
  [CKK.EC]: CKM.EC_KEY_PAIR_GEN,
  [CKK.AES]: CKM.AES_KEY_GEN,
  [CKK.GENERIC_SECRET]: CKM.GENERIC_SECRET_KEY_GEN,
};

/** @param label CKA_LABEL @returns the private and the public key, or the secret key */
export function objectsOf(key: KeyFacts, label: string, handles: Handles): readonly TokenObject[] {
  const { publicKey } = key;
  return publicKey === undefined
    ? [secretObject(key, label, handles)]
    : [privateObject(key, label, publicKey, handles), publicObject(key, label, publicKey, handles)];
}

/** CKK of a key of the vault. */
function keyTypeOf(key: KeyFacts): number {
  return key.type === "aes256" ? CKK.AES : KEY_TYPE_OF[factsOf(key.type).family];
}

/** What every key object has. */
function common(key: KeyFacts, label: string, cls: number, id: Uint8Array): Attributes {
  const local = key.origin === "generated";
  const keyType = keyTypeOf(key);
  return [
    [CKA.CLASS, cls],
    [CKA.TOKEN, true],
    [CKA.PRIVATE, cls !== CKO.PUBLIC_KEY],
    [CKA.MODIFIABLE, true],
    [CKA.COPYABLE, true],
    [CKA.DESTROYABLE, cls !== CKO.PUBLIC_KEY],
    [CKA.LABEL, new Uint8Array(Buffer.from(label))],
    [CKA.KEY_TYPE, keyType],
    [CKA.ID, id],
    [CKA.START_DATE, dateOf(key.fixed.notBefore)],
    [CKA.END_DATE, dateOf(key.fixed.makeUntil)],
    [CKA.LOCAL, local],
    [CKA.KEY_GEN_MECHANISM, local ? (GENERATED_BY[keyType] ?? UNAVAILABLE) : UNAVAILABLE],
    [CKA.ALLOWED_MECHANISMS, mechanismsOf(key)],
  ];
}

/** What private and secret keys have: whether they may be seen, and whether they ever could. */
function secrecy(key: KeyFacts): Attributes {
  const inside = key.origin === "generated" || key.origin === "derived";
  const extractable = key.fixed.export === "wrapped";
  return [
    [CKA.SENSITIVE, true],
    [CKA.ALWAYS_SENSITIVE, inside],
    [CKA.EXTRACTABLE, extractable],
    [CKA.NEVER_EXTRACTABLE, inside && !extractable],
    [CKA.WRAP_WITH_TRUSTED, false],
  ];
}

function privateObject(key: KeyFacts, label: string, publicKey: Uint8Array, handles: Handles): TokenObject {
  const can = (use: KeyUse) => key.uses.includes(use);
  const rsa = factsOf(key.type).family === "rsa";
  return {
    handle: handles.of(key.id, CKO.PRIVATE_KEY),
    attributes: new Map([
      ...common(key, label, CKO.PRIVATE_KEY, key.notes.id ?? idOf(publicKey)),
      ...secrecy(key),
      [CKA.SUBJECT, key.notes.subject ?? NO_BYTES],
      [CKA.SIGN, can("sign")],
      [CKA.SIGN_RECOVER, rsa && can("sign")],
      [CKA.DECRYPT, can("decrypt")],
      [CKA.UNWRAP, can("unwrap")],
      [CKA.DERIVE, can("agree")],
      [CKA.ALWAYS_AUTHENTICATE, false],
      [CKA.PUBLIC_KEY_INFO, publicKey],
      ...numbersOf(key, publicKey),
    ]),
    hidden: HIDDEN,
    backing: { kind: "key", key },
  };
}

function publicObject(key: KeyFacts, label: string, publicKey: Uint8Array, handles: Handles): TokenObject {
  const can = (use: KeyUse) => key.uses.includes(use);
  const rsa = factsOf(key.type).family === "rsa";
  const verifies = can("sign") || can("verify");
  return {
    handle: handles.of(key.id, CKO.PUBLIC_KEY),
    attributes: new Map([
      ...common(key, label, CKO.PUBLIC_KEY, key.notes.id ?? idOf(publicKey)),
      [CKA.SUBJECT, key.notes.subject ?? NO_BYTES],
      [CKA.VERIFY, verifies],
      [CKA.VERIFY_RECOVER, rsa && verifies],
      [CKA.ENCRYPT, can("encrypt") || can("decrypt")],
      [CKA.WRAP, can("wrap") || can("unwrap")],
      [CKA.DERIVE, false],
      [CKA.TRUSTED, false],
      [CKA.PUBLIC_KEY_INFO, publicKey],
      ...numbersOf(key, publicKey),
    ]),
    hidden: NOTHING_HIDDEN,
    backing: { kind: "public", part: partOf(key.type, publicKey), key },
  };
}

function secretObject(key: KeyFacts, label: string, handles: Handles): TokenObject {
  const can = (use: KeyUse) => key.uses.includes(use);
  return {
    handle: handles.of(key.id, CKO.SECRET_KEY),
    attributes: new Map([
      ...common(key, label, CKO.SECRET_KEY, key.notes.id ?? new Uint8Array(Buffer.from(key.id, "hex"))),
      ...secrecy(key),
      [CKA.ENCRYPT, can("encrypt")],
      [CKA.DECRYPT, can("decrypt")],
      [CKA.SIGN, can("mac")],
      [CKA.VERIFY, can("mac") || can("verify")],
      [CKA.WRAP, can("wrap")],
      [CKA.UNWRAP, can("unwrap")],
      [CKA.DERIVE, false],
      [CKA.TRUSTED, false],
      [CKA.VALUE_LEN, factsOf(key.type).bits / 8],
    ]),
    hidden: HIDDEN,
    backing: { kind: "key", key },
  };
}

/** The public numbers, which a private key shows too. */
function numbersOf(key: KeyFacts, publicKey: Uint8Array): Attributes {
  const params = EC_PARAMS[key.type];
  if (params !== undefined) {
    const point = ecPointOf(key.type, publicKey);
    return [[CKA.EC_PARAMS, params], ...(point === undefined ? [] : ([[CKA.EC_POINT, point]] satisfies Attributes))];
  }
  const { n, e } = rsaNumbersOf(publicKey);
  return [
    [CKA.MODULUS, n],
    [CKA.PUBLIC_EXPONENT, e],
    [CKA.MODULUS_BITS, factsOf(key.type).bits],
  ];
}

/** @param seconds since 1970 @returns CK_DATE: YYYYMMDD, or nothing */
function dateOf(seconds: number | undefined): Uint8Array {
  if (seconds === undefined) return NO_BYTES;
  return new Uint8Array(Buffer.from(new Date(seconds * 1000).toISOString().slice(0, 10).replaceAll("-", "")));
}
