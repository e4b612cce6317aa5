import { concat } from "../../bytes/bytes.ts";
import { OutOfBytes, Reader } from "../../bytes/reader.ts";

/** A data object (BER-TLV, ISO/IEC 7816-4, 5.2.2). */
export interface Tlv {
  /** Its bytes as one number: 53, 7F49, 5FC102. */
  readonly tag: number;
  /** A view. */
  readonly value: Uint8Array;
}

/** @returns the objects that fill `bytes` exactly, or undefined when none do */
export function tlvsOf(bytes: Uint8Array): Tlv[] | undefined {
  const reader = new Reader(bytes);
  const objects: Tlv[] = [];
  try {
    while (reader.remaining > 0) objects.push({ tag: tagOf(reader), value: reader.take(lengthOf(reader)) });
    return objects;
  } catch (error) {
    if (error instanceof OutOfBytes) return undefined;
    throw error;
  }
}

/** @returns the value of the one object of this tag that fills `bytes`, or undefined */
export function only(tag: number, bytes: Uint8Array): Uint8Array | undefined {
  const [object, ...rest] = tlvsOf(bytes) ?? [];
  return object?.tag === tag && rest.length === 0 ? object.value : undefined;
}

export function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = concat(...parts);
  return concat(tagBytes(tag), lengthBytes(value.length), value);
}

export function tagBytes(tag: number): Uint8Array {
  if (tag > 0xffff) return Uint8Array.of(tag >> 16, (tag >> 8) & 0xff, tag & 0xff);
  return tag > 0xff ? Uint8Array.of(tag >> 8, tag & 0xff) : Uint8Array.of(tag);
}

/** At most three bytes, as no tag of a PIV card has more. */
function tagOf(reader: Reader): number {
  let tag = reader.u8();
  if ((tag & 0x1f) !== 0x1f) return tag;
  for (let count = 0; count < 2; count++) {
    const next = reader.u8();
    tag = tag * 0x100 + next;
    if (next < 0x80) return tag;
  }
  throw new OutOfBytes(1, reader.position, reader.position);
}

function lengthOf(reader: Reader): number {
  const first = reader.u8();
  if (first < 0x80) return first;
  if (first === 0x81) return reader.u8();
  if (first === 0x82) return reader.u16be();
  throw new OutOfBytes(first, reader.position, reader.bytes.length);
}

function lengthBytes(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  return length < 0x100 ? Uint8Array.of(0x81, length) : Uint8Array.of(0x82, length >> 8, length & 0xff);
}
