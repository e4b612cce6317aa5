/** What is done with the objects of a token: in the process that has loaded the module. */
import { ThornkeyError } from "../../errors.ts";
import { CKA, CKD_NULL, CKK, CKM, CKO } from "./constants.ts";
import type { Attribute, Memory, Ulong } from "./memory.ts";
import type { Module } from "./module.ts";
import { CKR, ReturnValue } from "./return-values.ts";

/** The public part of a key, as a token says it; nothing of it has been checked. */
export type PublicPart =
  | { readonly kind: "ec"; readonly parameters: Uint8Array; readonly point: Uint8Array }
  | { readonly kind: "rsa"; readonly modulus: Uint8Array; readonly exponent: Uint8Array }
  | { readonly kind: "certificate"; readonly der: Uint8Array };

export interface KeyFacts {
  readonly publicPart: PublicPart;
  readonly signs: boolean;
  readonly agrees: boolean;
  /** It wants the PIN again for every use. */
  readonly wantsPin: boolean;
}

/** What a key is to be. */
export interface NewKey {
  /** Hexadecimal CKA_ID that no other key has. */
  readonly id: string;
  readonly label: string;
  readonly use: "sign" | "agree";
  /** The DER of a named curve, or the bits of a modulus. */
  readonly curve?: Uint8Array | undefined;
  readonly bits?: number | undefined;
}

export interface MechanismUse {
  readonly type: number;
  /** CK_ULONGs of its parameter. */
  readonly parameter?: readonly number[] | undefined;
}

/** Bytes of the longest attribute that is believed: a certificate may be long. */
const LONGEST_VALUE = 32_768;
/** Bytes of the longest signature: RSA of 8192 bits. */
const LONGEST_SIGNATURE = 1024;
/** Objects that a search gives at most. */
const MOST_OBJECTS = 10_000;
/** Objects that are asked for at once. */
const AT_ONCE = 64;

/** @returns the objects that have all of these attributes */
export function find(module: Module, session: Ulong, wanted: readonly Attribute[]): Ulong[] {
  const { memory } = module;
  module.call("C_FindObjectsInit", session, memory.attributes(wanted), wanted.length);
  const found: Ulong[] = [];
  try {
    const count = memory.words(0);
    const list = memory.room(AT_ONCE * memory.word);
    while (found.length < MOST_OBJECTS) {
      module.call("C_FindObjects", session, list, AT_ONCE, count);
      const got = Math.min(Number(memory.ulong(count)), AT_ONCE);
      for (let index = 0; index < got; index++) found.push(memory.ulong(list + index * memory.word));
      if (got === 0) break;
    }
  } finally {
    module.call("C_FindObjectsFinal", session);
  }
  return found;
}

/**
 * @returns undefined when the object does not have it, or does not show it
 * @throws ThornkeyError `ROOT_UNAVAILABLE` for a length that cannot be
 */
export function attribute(module: Module, session: Ulong, object: Ulong, type: number): Uint8Array | undefined {
  return module.memory.within(() => read(module, session, object, type));
}

function read(module: Module, session: Ulong, object: Ulong, type: number): Uint8Array | undefined {
  const { memory } = module;
  const value = memory.room(LONGEST_VALUE);
  const template = memory.words(type, value, LONGEST_VALUE);
  try {
    module.call("C_GetAttributeValue", session, object, template, 1);
  } catch (error) {
    const hidden: readonly number[] = [CKR.ATTRIBUTE_SENSITIVE, CKR.ATTRIBUTE_TYPE_INVALID];
    if (error instanceof ReturnValue && hidden.includes(error.rv)) return undefined;
    throw error;
  }
  const length = memory.ulong(template + 2 * memory.word);
  if (isUnavailable(memory, length)) return undefined;
  if (length > LONGEST_VALUE) throw nonsense(`an attribute of ${length} bytes`);
  return memory.read(value, Number(length));
}

/** CK_UNAVAILABLE_INFORMATION: all bits set. */
function isUnavailable({ word }: Memory, length: Ulong): boolean {
  return BigInt(length) === (1n << BigInt(8 * word)) - 1n;
}

const yes = (module: Module, session: Ulong, object: Ulong, type: number) =>
  attribute(module, session, object, type)?.[0] === 1;

/** @returns the private key with this CKA_ID, or undefined */
export function privateKey(module: Module, session: Ulong, id: string): Ulong | undefined {
  const found = find(module, session, [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.ID, bytesOf(id)],
  ]);
  if (found.length > 1) {
    throw new ThornkeyError("ROOT_REFUSED", `the token has ${found.length} private keys of the one CKA_ID ${id}`, {
      hint: "delete those that are too many with the vendor's tool, or pkcs11-tool",
    });
  }
  return found[0];
}

export function keyFacts(module: Module, session: Ulong, key: Ulong, id: string): KeyFacts {
  return {
    publicPart: publicPart(module, session, key, id),
    signs: yes(module, session, key, CKA.SIGN),
    agrees: yes(module, session, key, CKA.DERIVE),
    wantsPin: yes(module, session, key, CKA.ALWAYS_AUTHENTICATE),
  };
}

/** From the public key object, or the private key's own attributes, or a certificate: tokens differ in what they keep. */
function publicPart(module: Module, session: Ulong, key: Ulong, id: string): PublicPart {
  const withId = (type: number) =>
    find(module, session, [
      [CKA.CLASS, type],
      [CKA.ID, bytesOf(id)],
    ]);
  for (const object of [...withId(CKO.PUBLIC_KEY), key]) {
    const [parameters, point] = [CKA.EC_PARAMS, CKA.EC_POINT].map((type) => attribute(module, session, object, type));
    if (parameters?.length && point?.length) return { kind: "ec", parameters, point };
    const [modulus, exponent] = [CKA.MODULUS, CKA.PUBLIC_EXPONENT].map((type) =>
      attribute(module, session, object, type),
    );
    if (modulus?.length && exponent?.length) return { kind: "rsa", modulus, exponent };
  }
  for (const object of withId(CKO.CERTIFICATE)) {
    const der = attribute(module, session, object, CKA.VALUE);
    if (der?.length) return { kind: "certificate", der };
  }
  throw new ThornkeyError("ROOT_REFUSED", `the token has no public part of the key ${id}`, {
    hint: "put its public key, or its certificate, beside it with the same CKA_ID",
  });
}

/** What a private key must be after it was made. */
const MUST: readonly (readonly [attribute: keyof typeof CKA, value: boolean])[] = [
  ["TOKEN", true],
  ["SENSITIVE", true],
  ["EXTRACTABLE", false],
  ["ALWAYS_SENSITIVE", true],
  ["NEVER_EXTRACTABLE", true],
  ["LOCAL", true],
];

/**
 * Makes a key pair. Asked a second time for the same CKA_ID it gives the key it made the first time, or clears away what
 * was half made.
 *
 * @throws ThornkeyError `ROOT_REFUSED` when what the token made could leave it; it is destroyed then
 */
export function generate(module: Module, session: Ulong, wanted: NewKey): KeyFacts {
  const { id } = wanted;
  let key = privateKey(module, session, id);
  if (key === undefined) {
    destroyAll(module, session, id);
    key = generated(module, session, wanted);
  }
  const wrong = MUST.filter(([name, value]) => {
    const found = attribute(module, session, key, CKA[name]);
    return found?.length !== 1 || (found[0] === 1) !== value;
  });
  if (wrong.length > 0) {
    destroyAll(module, session, id);
    const which = wrong.map(([name]) => `CKA_${name}`).join(", ");
    throw new ThornkeyError("ROOT_REFUSED", `the token made a key that could leave it (${which}); it was destroyed`);
  }
  return keyFacts(module, session, key, id);
}

function generated(module: Module, session: Ulong, { id, label, use, curve, bits }: NewKey): Ulong {
  const { memory } = module;
  const common: Attribute[] = [
    [CKA.TOKEN, true],
    [CKA.ID, bytesOf(id)],
    [CKA.LABEL, label],
  ];
  const publicTemplate: Attribute[] = [
    ...common,
    [CKA.PRIVATE, false],
    ...(use === "sign" ? ([[CKA.VERIFY, true]] as Attribute[]) : []),
    ...(curve === undefined
      ? ([
          [CKA.MODULUS_BITS, bits ?? 0],
          [CKA.PUBLIC_EXPONENT, Uint8Array.of(1, 0, 1)],
        ] as Attribute[])
      : ([[CKA.EC_PARAMS, curve]] as Attribute[])),
  ];
  const privateTemplate: Attribute[] = [
    ...common,
    [CKA.PRIVATE, true],
    [CKA.SENSITIVE, true],
    [CKA.EXTRACTABLE, false],
    [CKA.SIGN, use === "sign"],
    ...(curve === undefined
      ? // A module may think that an RSA key is for everything unless it is said.
        ([
          [CKA.DECRYPT, false],
          [CKA.UNWRAP, false],
        ] as Attribute[])
      : ([[CKA.DERIVE, use === "agree"]] as Attribute[])),
  ];
  const type = curve === undefined ? CKM.RSA_PKCS_KEY_PAIR_GEN : CKM.EC_KEY_PAIR_GEN;
  const handles = memory.words(0, 0);
  module.call(
    "C_GenerateKeyPair",
    ...[session, memory.words(type, 0, 0)],
    ...[memory.attributes(publicTemplate), publicTemplate.length],
    ...[memory.attributes(privateTemplate), privateTemplate.length],
    ...[handles, handles + memory.word],
  );
  return memory.ulong(handles + memory.word);
}

/**
 * Destroys the private key of a CKA_ID and its public part, and looks that the private one is gone.
 *
 * @returns whether there was a private one
 */
export function destroyAll(module: Module, session: Ulong, id: string): boolean {
  const key = privateKey(module, session, id);
  if (key !== undefined) {
    module.call("C_DestroyObject", session, key);
    if (privateKey(module, session, id) !== undefined) {
      throw new ThornkeyError("ROOT_REFUSED", `the token says that it destroyed the key ${id}, and still has it`);
    }
  }
  const publicKeys = find(module, session, [
    [CKA.CLASS, CKO.PUBLIC_KEY],
    [CKA.ID, bytesOf(id)],
  ]);
  for (const object of publicKeys) module.call("C_DestroyObject", session, object);
  return key !== undefined;
}

/** A signature over bytes that are hashed, and padded, already as the mechanism wants it. */
export function sign(
  module: Module,
  session: Ulong,
  key: Ulong,
  { type, parameter }: MechanismUse,
  data: Uint8Array,
): Uint8Array {
  const { memory } = module;
  const [at, size] = parameter === undefined ? [0, 0] : [memory.words(...parameter), parameter.length * memory.word];
  module.call("C_SignInit", session, memory.words(type, at, size), key);
  const length = memory.words(LONGEST_SIGNATURE);
  const signature = memory.room(LONGEST_SIGNATURE);
  module.call("C_Sign", session, memory.bytes(data), data.length, signature, length);
  const given = memory.ulong(length);
  // What cannot be a signature does not check as one.
  return memory.read(signature, given > LONGEST_SIGNATURE ? 0 : Number(given));
}

/**
 * ECDH: CKM_ECDH1_DERIVE without a KDF into a key of the session that may be read, and is destroyed.
 *
 * @param peer 04, X, Y
 * @param length bytes of the X coordinate
 */
export function agree(module: Module, session: Ulong, key: Ulong, peer: Uint8Array, length: number): Uint8Array {
  try {
    return agreeWith(module, session, key, peer, length);
  } catch (error) {
    // Some take the point only as a DER OCTET STRING, as older editions may be read (v2.40, 2.3.9).
    const takesOther: readonly number[] = [CKR.MECHANISM_PARAM_INVALID, CKR.ARGUMENTS_BAD, CKR.DATA_INVALID];
    if (!(error instanceof ReturnValue) || !takesOther.includes(error.rv)) throw error;
    return agreeWith(module, session, key, Uint8Array.of(0x04, peer.length, ...peer), length);
  }
}

function agreeWith(module: Module, session: Ulong, key: Ulong, peer: Uint8Array, length: number): Uint8Array {
  const { memory } = module;
  const parameter = memory.words(CKD_NULL, 0, 0, peer.length, memory.bytes(peer));
  const template: Attribute[] = [
    [CKA.CLASS, CKO.SECRET_KEY],
    [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
    [CKA.TOKEN, false],
    [CKA.SENSITIVE, false],
    [CKA.EXTRACTABLE, true],
    [CKA.VALUE_LEN, length],
  ];
  const derived = memory.words(0);
  module.call(
    "C_DeriveKey",
    ...[session, memory.words(CKM.ECDH1_DERIVE, parameter, 5 * memory.word), key],
    ...[memory.attributes(template), template.length, derived],
  );
  const object = memory.ulong(derived);
  try {
    const value = attribute(module, session, object, CKA.VALUE);
    if (value === undefined) {
      throw new ThornkeyError("NOT_SUPPORTED", "the token does not give out what its keys agree on");
    }
    return value;
  } finally {
    module.call("C_DestroyObject", session, object);
  }
}

export function nonsense(what: string): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", `the token's module gave ${what}: that cannot be`, {
    hint: "is it the newest one of its vendor, and made for this system?",
  });
}

const bytesOf = (id: string) => new Uint8Array(Buffer.from(id, "hex"));
