/**
 * Reads the structures of X.509 from DER (X.690), so that their parts are at hand as they stand: names are compared, and
 * signatures are over, bytes. They are written by the schemas of @peculiar/asn1-*.
 */
import { type Element, readElement, TAG } from "../../bytes/asn1.ts";
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

export function namedBitsIn(body: Uint8Array): number[] {
  const bytes = body.subarray(1);
  return Array.from({ length: bytes.length * 8 }, (_, bit) => bit).filter(
    (bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0,
  );
}

/** Whether this is an object identifier, with arcs of a size that is in use. */
export function isDotted(text: string): boolean {
  const [first = 3, second = 40] = text.split(".").map(Number);
  return /^\d{1,9}(\.\d{1,9})+$/.test(text) && first <= 2 && (first === 2 || second < 40);
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
