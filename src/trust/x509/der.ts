/** What certificates need of DER (X.690) besides `bytes/asn1.ts`: more types to write, and a reader that knows what comes. */
import { type Element, encodeDer, readElement, TAG, type Tree } from "../../bytes/asn1.ts";
import { Reader } from "../../bytes/reader.ts";
import { ThornkeyError } from "../../errors.ts";

export const TYPE = {
  ...TAG,
  boolean: 0x01,
  enumerated: 0x0a,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  set: 0x31,
  context3: 0xa3,
} as const;

/** What may stand in a structure: a tree, or an element that is DER already. */
export type Part = Uint8Array | Tree;

export function sequence(...content: readonly Part[]): Tree {
  return { tag: TYPE.sequence, content };
}

export function explicit(number: number, ...content: readonly Part[]): Tree {
  return { tag: 0xa0 | number, content };
}

/** [number] IMPLICIT of a primitive type. */
export function implicit(number: number, ...content: readonly Uint8Array[]): Tree {
  return { tag: 0x80 | number, content };
}

export function octetString(content: Part): Tree {
  return { tag: TYPE.octetString, content: [content] };
}

export function bitString(bytes: Uint8Array, unused = 0): Tree {
  return { tag: TYPE.bitString, content: [Uint8Array.of(unused), bytes] };
}

export function textOf(tag: number, text: string): Tree {
  return { tag, content: [new TextEncoder().encode(text)] };
}

/** An INTEGER that is 0 or more, and small. */
export function smallInteger(value: number): Tree {
  const digits: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  if ((digits[0] ?? 0x80) >= 0x80) digits.unshift(0);
  return { tag: TYPE.integer, content: [Uint8Array.from(digits)] };
}

export const TRUE: Tree = { tag: TYPE.boolean, content: [Uint8Array.of(0xff)] };

/** SET OF: its elements in the order of their encodings (X.690, 11.6). */
export function setOf(...elements: readonly Part[]): Tree {
  const encoded = elements.map((element) => (element instanceof Uint8Array ? element : encodeDer(element)));
  return { tag: TYPE.set, content: encoded.sort(Buffer.compare) };
}

/** The order DER has for flags: bit 0 is the highest of the first byte; zeros at the end are left out (X.690, 11.2.2). */
export function namedBits(bits: readonly number[]): Tree {
  const bytes = new Uint8Array(bits.length === 0 ? 0 : Math.floor(Math.max(...bits) / 8) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return bitString(bytes, bits.length === 0 ? 0 : 7 - (Math.max(...bits) & 7));
}

export function namedBitsIn(body: Uint8Array): number[] {
  const bytes = body.subarray(1);
  return Array.from({ length: bytes.length * 8 }, (_, bit) => bit).filter(
    (bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0,
  );
}

/** @param dotted `2.5.4.3`. @throws ThornkeyError `MALFORMED` */
export function oid(dotted: string): Tree {
  const arcs = dotted.split(".").map(Number);
  const [first = 3, second = 40, ...rest] = arcs;
  const valid = /^\d{1,9}(\.\d{1,9})+$/.test(dotted) && first <= 2 && (first === 2 || second < 40);
  if (!valid) throw new ThornkeyError("MALFORMED", `'${dotted}' is no object identifier`);
  return { tag: TYPE.oid, content: [Uint8Array.from([first * 40 + second, ...rest].flatMap(base128))] };
}

function base128(arc: number): number[] {
  const digits = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) digits.unshift(0x80 | (rest % 128));
  return digits;
}

/** @param body content of an OBJECT IDENTIFIER. @throws ThornkeyError `MALFORMED` */
export function dottedOf(body: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const [index, byte] of body.entries()) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte === 0x80 && arc === 0) throw malformed("an object identifier that is too long");
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw malformed("an object identifier of a size nobody uses");
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    } else if (index === body.length - 1) throw malformed("an object identifier that is cut off");
  }
  const [head, ...rest] = arcs;
  if (head === undefined) throw malformed("an empty object identifier");
  const first = Math.min(2, Math.floor(head / 40));
  return [first, head - first * 40, ...rest].join(".");
}

/** Reads a structure whose fields are known. Every method throws ThornkeyError `MALFORMED` for what is not there. */
export interface Fields {
  /** @returns the content of the next element, which is of this type */
  next(tag: number): Uint8Array;
  /** @returns the content of the next element if it is of this type */
  optional(tag: number): Uint8Array | undefined;
  /** @returns the whole next element, as it is; of this type if one is given */
  whole(tag?: number): Uint8Array;
  /** @returns the next element, of whatever type */
  any(): Element;
  readonly more: boolean;
  /** Nothing comes any more. */
  end(): void;
}

export function fieldsOf(body: Uint8Array): Fields {
  const reader = new Reader(body);
  const peek = () => (reader.remaining > 0 ? body[reader.position] : undefined);
  const must = (tag: number) => {
    if (peek() !== tag) throw malformed("other fields than it should have");
  };
  return {
    next(tag) {
      must(tag);
      return readElement(reader).body;
    },
    optional: (tag) => (peek() === tag ? readElement(reader).body : undefined),
    whole(tag) {
      if (tag !== undefined) must(tag);
      const start = reader.position;
      readElement(reader);
      return body.subarray(start, reader.position);
    },
    any: () => readElement(reader),
    get more() {
      return reader.remaining > 0;
    },
    end() {
      if (reader.remaining > 0) throw malformed("more fields than it should have");
    },
  };
}

/** @param der one element that fills it. @returns its content. @throws ThornkeyError `MALFORMED` */
export function only(tag: number, der: Uint8Array): Uint8Array {
  const fields = fieldsOf(der);
  const body = fields.next(tag);
  fields.end();
  return body;
}

function malformed(what: string): ThornkeyError {
  return new ThornkeyError("MALFORMED", `not in the DER form: ${what}`);
}
