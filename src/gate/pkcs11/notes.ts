/**
 * What programs say of objects and the vault has no field for: a label that is no name, an id of their own. It is kept
 * with a key as a note, with an object as its attributes.
 */
import { decodeStrictly, encodeStrictly } from "../../operations/protocol.ts";
import type { AttributeValue } from "./attributes.ts";

/** What is noted with a key. */
export interface KeyNotes {
  /** CKA_LABEL, and the name the key had then: a key that was renamed since is called by its name. */
  readonly label?: Uint8Array;
  readonly name?: string;
  /** CKA_ID */
  readonly id?: Uint8Array;
  /** CKA_SUBJECT */
  readonly subject?: Uint8Array;
}

/** Other fronts may note something beside us. */
const OURS = "pkcs11";

export function readKeyNotes(notes: Uint8Array | undefined): KeyNotes {
  const { label, name, id, subject } = recordOf(recordOf(decoded(notes))[OURS]);
  return {
    ...(label instanceof Uint8Array && { label }),
    ...(typeof name === "string" && { name }),
    ...(id instanceof Uint8Array && { id }),
    ...(subject instanceof Uint8Array && { subject }),
  };
}

/** @param before what is noted already, by whomever */
export function writeKeyNotes(before: Uint8Array | undefined, notes: KeyNotes): Uint8Array {
  return encodeStrictly({ ...recordOf(decoded(before)), [OURS]: notes });
}

export function readAttributes(noted: Uint8Array | undefined): Map<number, AttributeValue> {
  const attributes = new Map<number, AttributeValue>();
  const pairs = decoded(noted);
  for (const pair of Array.isArray(pairs) ? pairs : []) {
    const [type, value] = Array.isArray(pair) ? pair : [];
    const simple = typeof value === "boolean" || typeof value === "number" || value instanceof Uint8Array;
    if (typeof type === "number" && simple) attributes.set(type, value);
  }
  return attributes;
}

export function writeAttributes(attributes: Iterable<readonly [number, AttributeValue]>): Uint8Array {
  return encodeStrictly([...attributes]);
}

function decoded(bytes: Uint8Array | undefined): unknown {
  if (bytes === undefined || bytes.length === 0) return undefined;
  try {
    return decodeStrictly(bytes);
  } catch {
    return undefined; // another front's own
  }
}

function recordOf(value: unknown): { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
