/** Certificates, public keys and data that the vault keeps. */
import type { ObjectClass, ObjectInfo } from "../../operations/objects.ts";
import type { AttributeValue } from "./attributes.ts";
import { CKA, CKO, CKR } from "./constants.ts";
import type { Handles } from "./handles.ts";
import { certificateAttributes, dataAttributes, publicKeyObject, publicPartOf } from "./made-objects.ts";
import { readAttributes, writeAttributes } from "./notes.ts";
import type { TokenObject } from "./object.ts";
import { Refusal, refuse } from "./refusals.ts";
import type { Template } from "./template.ts";

/** Longest value that the vault keeps, in bytes. */
const MOST_VALUE = 49_152;
const MOST_ATTRIBUTES = 8192;
const MOST_ID = 64;

export const CLASS_OF: { readonly [Class in ObjectClass]: number } = {
  certificate: CKO.CERTIFICATE,
  "public-key": CKO.PUBLIC_KEY,
  data: CKO.DATA,
};

/** What is in the object itself, or follows from it, and is not kept beside it. */
const NOT_NOTED: ReadonlySet<number> = new Set<number>([
  ...[CKA.CLASS, CKA.TOKEN, CKA.VALUE, CKA.ID, CKA.PUBLIC_KEY_INFO, CKA.MODULUS_BITS, CKA.CHECK_VALUE],
  ...[CKA.SERIAL_NUMBER, CKA.ISSUER, CKA.CERTIFICATE_TYPE],
]);

export interface StoredForm {
  readonly value: Uint8Array;
  readonly keyId: Uint8Array | undefined;
  readonly attributes: Uint8Array;
}

/**
 * @param attributes the whole object's
 * @returns what the vault is to keep @throws Refusal CKR_DEVICE_MEMORY when it is too much
 */
export function storedForm(cls: ObjectClass, attributes: ReadonlyMap<number, AttributeValue>): StoredForm {
  const value = attributes.get(cls === "public-key" ? CKA.PUBLIC_KEY_INFO : CKA.VALUE);
  const id = attributes.get(CKA.ID);
  const noted = writeAttributes(
    [...attributes].filter(
      ([type, own]) => !NOT_NOTED.has(type) && (typeof own !== "object" || own instanceof Uint8Array),
    ),
  );
  const bytes = value instanceof Uint8Array ? value : new Uint8Array(0);
  if (bytes.length > MOST_VALUE || noted.length > MOST_ATTRIBUTES) refuse(CKR.DEVICE_MEMORY);
  const keyId = id instanceof Uint8Array ? id : undefined;
  if (keyId !== undefined && keyId.length > MOST_ID) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  return { value: bytes, keyId, attributes: noted };
}

/** @returns undefined for what no program could have meant: made by another door, and not what it says it is */
export function storedObject(info: ObjectInfo, handles: Handles): TokenObject | undefined {
  try {
    const handle = handles.of(info.id, CLASS_OF[info.class]);
    const attributes = attributesOf(info);
    attributes.set(CKA.TOKEN, true);
    attributes.set(CKA.MODIFIABLE, true); // whether this caller may, the vault says
    attributes.set(CKA.DESTROYABLE, true);
    if (info.class === "public-key") {
      const { attributes: own, hidden, backing } = publicKeyObject(attributes, publicPartOf(attributes));
      if (backing.kind !== "public") return undefined;
      return { handle, attributes: own, hidden, backing: { ...backing, stored: info.id } };
    }
    return { handle, attributes, hidden: new Set(), backing: { kind: "stored", id: info.id, class: info.class } };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function attributesOf(info: ObjectInfo): Map<number, AttributeValue> {
  const label = info.name.slice(info.name.indexOf("/") + 1);
  const noted = readAttributes(info.attributes);
  const template: Template = new Map<number, AttributeValue>([
    [CKA.LABEL, new Uint8Array(Buffer.from(label))],
    ...(info.application === undefined
      ? []
      : ([[CKA.APPLICATION, new Uint8Array(Buffer.from(info.application))]] as const)),
    ...noted,
    [CKA.VALUE, info.value],
    ...(info.keyId === undefined ? [] : ([[CKA.ID, info.keyId]] as const)),
  ]);
  switch (info.class) {
    case "certificate":
      return certificateAttributes(template);
    case "data":
      return dataAttributes(template);
    case "public-key": {
      const own = new Map(template);
      own.delete(CKA.VALUE);
      return own;
    }
  }
}
