/**
 * What fronts keep with a key: the vault holds it and does not look into it. One field of bytes, in it a CBOR map from
 * the front's name to whatever it keeps.
 */
import { decodeStrictly, encodeStrictly } from "./protocol.ts";

type Notes = { readonly [front: string]: unknown };

/** @returns what the front keeps; undefined when it keeps nothing, or nobody can read it */
export function notesOf(notes: Uint8Array | undefined, front: string): unknown {
  return all(notes)[front];
}

/** @param value what is kept from now on; undefined for nothing. @returns all notes, to be kept with `key.note` */
export function withNotes(notes: Uint8Array | undefined, front: string, value: unknown): Uint8Array {
  const { [front]: _, ...others } = all(notes);
  return encodeStrictly(value === undefined ? others : { ...others, [front]: value });
}

function all(notes: Uint8Array | undefined): Notes {
  if (notes === undefined || notes.length === 0) return {};
  try {
    const decoded = decodeStrictly(notes);
    return typeof decoded === "object" && decoded !== null ? (decoded as Notes) : {};
  } catch {
    return {};
  }
}
