/**
 * DER (X.690) as far as keys and signatures need it: reading one element after the other, and writing a tree at once, so
 * that no part of a private key lies about in arrays between.
 */
import { ThornkeyError } from "../errors.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

export const TAG = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  visibleString: 0x1a,
  sequence: 0x30,
  context0: 0xa0,
  context1: 0xa1,
  /** [1] IMPLICIT of a primitive type. */
  primitive1: 0x81,
} as const;

export interface Element {
  readonly tag: number;
  /** A view of the content. */
  readonly body: Uint8Array;
}

/** What {@link encodeDer} writes: a tag and its content, made of bytes and further elements. */
export interface Tree {
  readonly tag: number;
  readonly content: readonly (Uint8Array | Tree)[];
}

/** @throws ThornkeyError `MALFORMED` for a length that is not the shortest form, or reaches past the end */
export function readElement(reader: Reader): Element {
  try {
    const tag = reader.u8();
    let length = reader.u8();
    if ((tag & 0x1f) === 0x1f || length > 0x83 || length === 0x80) throw malformed();
    if (length > 0x80) {
      const bytes = reader.take(length - 0x80);
      length = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
      if (length < 0x80 || bytes[0] === 0) throw malformed();
    }
    return { tag, body: reader.take(length) };
  } catch (error) {
    throw error instanceof ThornkeyError ? error : malformed();
  }
}

/** @returns the elements that fill `body` exactly. @throws ThornkeyError `MALFORMED` */
export function elementsOf(body: Uint8Array): Element[] {
  const reader = new Reader(body);
  const elements: Element[] = [];
  while (reader.remaining > 0) elements.push(readElement(reader));
  return elements;
}

/**
 * @param body of an INTEGER that is 0 or more
 * @returns a view of its digits without the byte that keeps it positive; of 0 one byte
 * @throws ThornkeyError `MALFORMED` when it is negative, empty or longer than it must be
 */
export function unsignedDigits(body: Uint8Array): Uint8Array {
  const [first, second] = body;
  if (first === undefined || first >= 0x80) throw malformed();
  if (first !== 0 || second === undefined) return body;
  if (second < 0x80) throw malformed();
  return body.subarray(1);
}

/** @param number unsigned, big endian, with any leading zeros. @returns an INTEGER */
export function integerOf(number: Uint8Array): Tree {
  let start = 0;
  while (start < number.length - 1 && number[start] === 0) start++;
  const digits = number.subarray(start);
  return { tag: TAG.integer, content: (digits[0] ?? 0) >= 0x80 ? [Uint8Array.of(0), digits] : [digits] };
}

export function sequenceOf(...content: readonly Tree[]): Tree {
  return { tag: TAG.sequence, content };
}

/** @returns the one DER encoding, in a new array; nothing else holds a copy of the content */
export function encodeDer(tree: Tree): Uint8Array {
  const writer = new Writer(sizeOf(tree));
  write(tree, writer);
  return writer.done();
}

function contentSize({ content }: Tree): number {
  return content.reduce((sum, part) => sum + (part instanceof Uint8Array ? part.length : sizeOf(part)), 0);
}

function sizeOf(tree: Tree): number {
  const length = contentSize(tree);
  return 1 + lengthBytes(length).length + length;
}

function lengthBytes(length: number): readonly number[] {
  if (length < 0x80) return [length];
  if (length < 0x100) return [0x81, length];
  if (length < 0x10000) return [0x82, length >> 8, length & 0xff];
  return [0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
}

function write(tree: Tree, writer: Writer): void {
  writer.u8(tree.tag).put(Uint8Array.from(lengthBytes(contentSize(tree))));
  for (const part of tree.content) {
    if (part instanceof Uint8Array) writer.put(part);
    else write(part, writer);
  }
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not in the DER form");
}
