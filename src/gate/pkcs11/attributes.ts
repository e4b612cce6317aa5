/**
 * Attributes of objects on the wire. What kind of value a type has decides how it is written; a type nobody knows is an
 * array of bytes.
 */
import { concat, equal } from "../../bytes/bytes.ts";
import { CKA } from "./constants.ts";

export type AttributeValue = boolean | number | Uint8Array | readonly number[] | readonly Attribute[];

export interface Attribute {
  readonly type: number;
  /** null: there is no value, and its length is (CK_ULONG)-1; or it is not as long as its kind must be */
  readonly value: AttributeValue | null;
}

/** An attribute somebody asks for, and how many bytes he has for it; 0 asks for the length. */
export interface AttributeRoom {
  readonly type: number;
  readonly room: number;
}

/** `packed bool` is a flag that p11-kit does not know as one: it travels as an array of one byte. */
export type AttributeKind = "bool" | "packed bool" | "ulong" | "bytes" | "date" | "mechanisms" | "template";

const BOOLS = [
  ...[CKA.TOKEN, CKA.PRIVATE, CKA.TRUSTED, CKA.SENSITIVE, CKA.ENCRYPT, CKA.DECRYPT, CKA.WRAP, CKA.UNWRAP, CKA.SIGN],
  ...[CKA.SIGN_RECOVER, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.DERIVE, CKA.EXTRACTABLE, CKA.LOCAL, CKA.NEVER_EXTRACTABLE],
  ...[CKA.ALWAYS_SENSITIVE, CKA.MODIFIABLE, CKA.COPYABLE, CKA.SECONDARY_AUTH, CKA.ALWAYS_AUTHENTICATE],
  ...[CKA.WRAP_WITH_TRUSTED, CKA.RESET_ON_INIT, CKA.HAS_RESET, CKA.COLOR],
];
const ULONGS = [
  ...[CKA.CLASS, CKA.CERTIFICATE_TYPE, CKA.CERTIFICATE_CATEGORY, CKA.JAVA_MIDP_SECURITY_DOMAIN, CKA.KEY_TYPE],
  ...[CKA.MODULUS_BITS, CKA.PRIME_BITS, CKA.SUB_PRIME_BITS, CKA.VALUE_BITS, CKA.VALUE_LEN, CKA.KEY_GEN_MECHANISM],
  ...[CKA.AUTH_PIN_FLAGS, CKA.HW_FEATURE_TYPE, CKA.PIXEL_X, CKA.PIXEL_Y, CKA.RESOLUTION, CKA.CHAR_ROWS],
  ...[CKA.CHAR_COLUMNS, CKA.BITS_PER_PIXEL, CKA.MECHANISM_TYPE],
];

const KINDS = new Map<number, AttributeKind>([
  ...BOOLS.map((type) => [type, "bool"] as const),
  ...ULONGS.map((type) => [type, "ulong"] as const),
  [CKA.DESTROYABLE, "packed bool"],
  [CKA.START_DATE, "date"],
  [CKA.END_DATE, "date"],
  [CKA.WRAP_TEMPLATE, "template"],
  [CKA.UNWRAP_TEMPLATE, "template"],
  [CKA.ALLOWED_MECHANISMS, "mechanisms"],
]);

/** What p11-kit 0.25.0 added: types of a vendor, and the third template. */
const KINDS_SINCE_1 = new Map<number, AttributeKind>([
  ...[0x80010001, 0x80010002, 0x80010003, 0x80010004, 0x80010008, 0x8001000c, 0x8001000d].map(
    (type) => [type, "bool"] as const,
  ),
  ...[0x80010005, 0x8001000a, 0x800d0001].map((type) => [type, "ulong"] as const),
  [CKA.DERIVE_TEMPLATE, "template"],
]);

/** What 0.25.6 added. */
const KINDS_SINCE_2 = new Map<number, AttributeKind>([
  [0x800d0009, "ulong"],
  [0x800d0101, "ulong"],
]);

/** @param version the byte the client sent */
export function kindOf(type: number, version: number): AttributeKind {
  const kind = KINDS.get(type);
  if (kind !== undefined) return kind;
  const later = version >= 1 ? KINDS_SINCE_1.get(type) : undefined;
  return later ?? (version >= 2 ? KINDS_SINCE_2.get(type) : undefined) ?? "bytes";
}

/**
 * @param width of the caller's CK_ULONG
 * @returns bytes the value takes in the caller's memory
 */
export function lengthOf(value: AttributeValue, width: number): number {
  if (typeof value === "boolean") return 1;
  if (typeof value === "number") return width;
  if (value instanceof Uint8Array) return value.length;
  return value.length * (isTemplate(value) ? 3 * width : width);
}

export function isTemplate(value: readonly number[] | readonly Attribute[]): value is readonly Attribute[] {
  return typeof value[0] === "object";
}

export function equalValues(a: AttributeValue, b: AttributeValue): boolean {
  if (a instanceof Uint8Array) return b instanceof Uint8Array && equal(a, b);
  if (typeof a !== "object") return a === b;
  if (typeof b !== "object" || b instanceof Uint8Array || a.length !== b.length) return false;
  return a.every((item, index) => {
    const other = b[index];
    if (typeof item === "number" || typeof other === "number" || other === undefined) return item === other;
    if (item.type !== other.type) return false;
    return item.value === null || other.value === null
      ? item.value === other.value
      : equalValues(item.value, other.value);
  });
}

/** A copy that outlives the message it came in. */
export function keptValue(value: AttributeValue): AttributeValue {
  return value instanceof Uint8Array ? concat(value) : value;
}
