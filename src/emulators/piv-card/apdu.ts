import { Reader } from "../../bytes/reader.ts";

/** A command APDU (ISO/IEC 7816-3, 12.1). */
export interface Command {
  readonly cla: number;
  readonly ins: number;
  readonly p1: number;
  readonly p2: number;
  /** A view; empty when there is none. */
  readonly data: Uint8Array;
  /** The most bytes of data the answer may have: 0 to 65536. */
  readonly expected: number;
}

/**
 * All seven cases of short and extended fields. A field that is not wholly there, or anything after the last, is refused.
 *
 * @param bytes any
 * @returns the command, or undefined when no case fits (status 6700)
 */
export function parseCommand(bytes: Uint8Array): Command | undefined {
  if (bytes.length < HEADER) return undefined;
  const reader = new Reader(bytes);
  const header = { cla: reader.u8(), ins: reader.u8(), p1: reader.u8(), p2: reader.u8() };
  const body = bytes.length === HEADER ? NOTHING : bodyOf(reader);
  return body && { ...header, ...body };
}

const HEADER = 4;
const NOTHING = { data: new Uint8Array(0), expected: 0 } as const;
/** Le of zero. */
const MOST = { short: 0x100, extended: 0x10000 } as const;

type Body = Pick<Command, "data" | "expected">;

function bodyOf(reader: Reader): Body | undefined {
  const first = reader.u8();
  if (reader.remaining === 0) return { data: NOTHING.data, expected: first || MOST.short };
  if (first !== 0) return dataAndExpected(reader, first, 1);
  if (reader.remaining < 2) return undefined;
  const field = reader.u16be();
  if (reader.remaining === 0) return { data: NOTHING.data, expected: field || MOST.extended };
  return field === 0 ? undefined : dataAndExpected(reader, field, 2);
}

/** @param size bytes of Le */
function dataAndExpected(reader: Reader, length: number, size: 1 | 2): Body | undefined {
  if (reader.remaining < length) return undefined;
  const data = reader.take(length);
  if (reader.remaining === 0) return { data, expected: 0 };
  if (reader.remaining !== size) return undefined;
  return { data, expected: size === 1 ? reader.u8() || MOST.short : reader.u16be() || MOST.extended };
}
