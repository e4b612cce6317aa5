/**
 * Messages of p11-kit's RPC protocol, read and written as their signatures say. Numbers are big endian.
 *
 *     u32 call | u32 length | signature | arguments
 *
 * Whatever does not fit throws {@link Malformed} and nothing else.
 */
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import {
  type Attribute,
  type AttributeKind,
  type AttributeRoom,
  type AttributeValue,
  isTemplate,
  kindOf,
  lengthOf,
} from "./attributes.ts";
import { type Call, callOf, type SizeOnly, type Token, type Version } from "./calls.ts";
import { UNAVAILABLE } from "./constants.ts";
import { type Field, formOf, type Mechanism } from "./mechanism-forms.ts";

/** What one client's messages have of their own. */
export interface Dialect {
  /** The byte the client sent: it writes mechanisms as that version does, whatever was answered. */
  readonly version: number;
  /** Bytes of its CK_ULONG, once it has shown; until then 8 are assumed. */
  width: 4 | 8 | undefined;
}

export class Malformed extends Error {
  override readonly name = "Malformed";
}

/** Templates within templates; p11-kit has the same limit. */
const DEEPEST = 8;
/** CK_ULONG, twice a u32. */
const ULONG_BYTES = 8;
const NOTHING = 0xffffffff;
/** No array in a message has more items; a message of 16 MiB could have more of the shortest. */
const MOST_ITEMS = 65_536;

export interface Request {
  readonly call: Call;
  /** As many and of such types as the call takes; bytes are views of the message. */
  readonly args: readonly unknown[];
}

/** @throws Malformed */
export function readRequest(body: Uint8Array, dialect: Dialect): Request {
  return reading(body, (reader) => {
    const call = callOf(reader.u32be());
    if (call === undefined) throw new Malformed("no such call");
    mustSay(reader, call.request);
    return { call, args: call.takes.map((token) => READ[token](reader, dialect, 0)) };
  });
}

/** @returns the message of a call: what a client sends */
export function writeRequest(call: Call, args: readonly unknown[], dialect: Dialect): Uint8Array {
  return written(call.number, call.request, call.takes, args, dialect);
}

/** @returns the message of an answer, in which the call says what `results` are */
export function writeReply(call: Call, results: readonly unknown[], dialect: Dialect): Uint8Array {
  return written(call.number, call.reply, call.gives, results, dialect);
}

/** @returns the message of a refusal of any call. @param rv CK_RV, not 0 */
export function writeFailure(rv: number, dialect: Dialect): Uint8Array {
  return written(0, "u", ["u"], [rv], dialect);
}

/** @returns what a client makes of an answer: results, or the CK_RV of a refusal. @throws Malformed */
export function readReply(call: Call, body: Uint8Array, dialect: Dialect): readonly unknown[] | number {
  return reading(body, (reader) => {
    const number = reader.u32be();
    if (number === 0) {
      mustSay(reader, "u");
      return readUlong(reader);
    }
    if (number !== call.number) throw new Malformed("the answer to another call");
    mustSay(reader, call.reply);
    return call.gives.map((token) => (READ_REPLY[token] ?? READ[token])(reader, dialect, 0));
  });
}

function reading<Result>(body: Uint8Array, read: (reader: Reader) => Result): Result {
  try {
    return read(new Reader(body));
  } catch (error) {
    throw error instanceof Malformed ? error : new Malformed((error as Error).message);
  }
}

function mustSay(reader: Reader, signature: string): void {
  const said = reader.take(reader.u32be());
  if (said.length !== signature.length || !said.every((byte, index) => byte === signature.charCodeAt(index))) {
    throw new Malformed("another signature");
  }
}

type Read = (reader: Reader, dialect: Dialect, depth: number) => unknown;

const READ: { readonly [T in Token]: Read } = {
  y: (reader) => reader.u8(),
  u: readUlong,
  v: (reader): Version => [reader.u8(), reader.u8()],
  s: (reader) => readBytes(reader) ?? new Uint8Array(0),
  z: (reader) => readBytes(reader) ?? new Uint8Array(0),
  ay(reader) {
    if (reader.u8() !== 0) return readBytes(reader);
    reader.u32be(); // the length of what is not there
    return null;
  },
  au(reader) {
    const valid = reader.u8() !== 0;
    const count = reader.u32be();
    return valid ? readMany(reader, count, ULONG_BYTES, readUlong) : null;
  },
  /** A buffer of no bytes that is not NULL wants what a NULL one wants: the length. */
  fy(reader) {
    const room = reader.u32be();
    return room === NOTHING ? 0 : room;
  },
  fu: (reader) => reader.u32be(),
  fA: readRooms,
  aA: readAttributes,
  M: readMechanism,
  P: (reader) => reader.u8(),
};

/** Where an answer says more than a request. */
const READ_REPLY: { readonly [T in Token]?: Read } = {
  s: (reader) => Buffer.from(readBytes(reader) ?? []).toString(),
  ay: (reader): Uint8Array | SizeOnly =>
    reader.u8() !== 0 ? (readBytes(reader) ?? new Uint8Array(0)) : { size: reader.u32be() },
  au(reader): readonly number[] | SizeOnly {
    const valid = reader.u8() !== 0;
    const count = reader.u32be();
    return valid ? readMany(reader, count, ULONG_BYTES, readUlong) : { size: count };
  },
};

/** Beyond 2^53 a number names nothing here, and may lose its last digits. */
function readUlong(reader: Reader): number {
  const high = reader.u32be();
  const low = reader.u32be();
  return high === NOTHING && low === NOTHING ? UNAVAILABLE : high * 2 ** 32 + low;
}

function readBytes(reader: Reader): Uint8Array | null {
  const length = reader.u32be();
  return length === NOTHING ? null : reader.take(length);
}

/** @param least bytes an item has at the least, so that a count nobody can fill reserves nothing */
function readMany<Item>(reader: Reader, count: number, least: number, read: (reader: Reader) => Item): Item[] {
  if (count > MOST_ITEMS || count * least > reader.remaining) throw new Malformed("more items than bytes");
  return Array.from({ length: count }, () => read(reader));
}

function readAttributes(reader: Reader, dialect: Dialect, depth: number): Attribute[] {
  if (depth > DEEPEST) throw new Malformed("templates too deep");
  return readMany(reader, reader.u32be(), 5, () => readAttribute(reader, dialect, depth));
}

function readAttribute(reader: Reader, dialect: Dialect, depth: number): Attribute {
  const type = reader.u32be();
  if (reader.u8() === 0) return { type, value: null };
  const length = reader.u32be();
  const kind = kindOf(type, dialect.version);
  if (kind === "ulong" && (length === 4 || length === 8)) dialect.width ??= length;
  return { type, value: READ_VALUE[kind](reader, length, dialect, depth) };
}

type ReadValue = (reader: Reader, length: number, dialect: Dialect, depth: number) => AttributeValue | null;

/** The bytes of a value are there even when its length is 0. */
const READ_VALUE: { readonly [Kind in AttributeKind]: ReadValue } = {
  bool(reader, length) {
    const value = reader.u8() !== 0;
    return length === 1 ? value : null;
  },
  "packed bool"(reader) {
    const value = readBytes(reader);
    return value?.length === 1 ? value[0] !== 0 : null;
  },
  ulong(reader, length) {
    const value = readUlong(reader);
    return length === 4 || length === 8 ? value : null;
  },
  bytes: (reader) => readBytes(reader) ?? new Uint8Array(0),
  date: (reader) => readBytes(reader) ?? new Uint8Array(0),
  mechanisms: (reader) => readMany(reader, reader.u32be(), ULONG_BYTES, readUlong),
  template: (reader, _, dialect, depth) => readAttributes(reader, dialect, depth + 1),
};

/**
 * Clients of version 2 put the rooms of a template's attributes after its own; of those of version 1 only the last did,
 * and even for a length of 0. As nothing follows the rooms, the right reading is the one that ends with the message.
 */
function readRooms(reader: Reader, dialect: Dialect): AttributeRoom[] {
  if (dialect.version !== 1) return readRoomsNested(reader, dialect, dialect.version === 0 ? "never" : "filled", 0);
  const rest = reader.rest();
  try {
    const plain = new Reader(rest);
    const rooms = readRoomsNested(plain, dialect, "never", 0);
    if (plain.remaining === 0) return rooms;
  } catch {
    // The other way, then.
  }
  return readRoomsNested(new Reader(rest), dialect, "always", 0);
}

type Nesting = "never" | "filled" | "always";

function readRoomsNested(reader: Reader, dialect: Dialect, nesting: Nesting, depth: number): AttributeRoom[] {
  if (depth > DEEPEST) throw new Malformed("templates too deep");
  return readMany(reader, reader.u32be(), 8, () => {
    const type = reader.u32be();
    const room = reader.u32be();
    const kind = kindOf(type, dialect.version);
    if (kind === "ulong" && room === 4) dialect.width ??= 4;
    const nested = kind === "template" && (nesting === "always" || (nesting === "filled" && room > 0));
    if (nested) readRoomsNested(reader, dialect, nesting, depth + 1);
    return { type, room };
  });
}

/** NULL is `0` and nothing after it up to p11-kit 0.25.2, `ffffffff` later. */
function readMechanism(reader: Reader, { version }: Dialect): Mechanism | null {
  const type = reader.u32be();
  if (type === NOTHING) return null;
  const form = formOf(type, version);
  if (form === undefined) {
    if (version >= 2) return { type, fields: null };
    const next = new Reader(reader.bytes.subarray(reader.position)).u32be();
    if (type === 0 && next !== NOTHING) return null;
    if (reader.u32be() !== NOTHING) throw new Malformed("a parameter nobody knows");
    return { type, fields: null };
  }
  if (version >= 2 && reader.u8() === 0) return { type, fields: null };
  return { type, fields: form.map((letter): Field => (letter === "u" ? readUlong(reader) : readBytes(reader))) };
}

/** How a value is written, and how many bytes that takes. */
interface Form<Value> {
  size(value: Value, dialect: Dialect): number;
  put(writer: Writer, value: Value, dialect: Dialect): void;
}

function written(
  number: number,
  signature: string,
  tokens: readonly Token[],
  values: readonly unknown[],
  dialect: Dialect,
): Uint8Array {
  const forms = tokens.map((token) => WRITE[token]);
  const size = forms.reduce((sum, form, index) => sum + form.size(values[index], dialect), 8 + signature.length);
  const writer = new Writer(size).u32be(number).u32be(signature.length);
  for (let index = 0; index < signature.length; index++) writer.u8(signature.charCodeAt(index));
  for (const [index, form] of forms.entries()) form.put(writer, values[index], dialect);
  return writer.done();
}

/** The table is right about its own types; the calls' table says which value stands at which token. */
function form<Value>(size: Form<Value>["size"], put: Form<Value>["put"]): Form<unknown> {
  return { size, put } as Form<unknown>;
}

const byteForm = form<number>(
  () => 1,
  (writer, value) => writer.u8(value),
);
const ulongForm = form<number>(
  () => ULONG_BYTES,
  (writer, value) => putUlong(writer, value),
);
const roomForm = form<number>(
  () => 4,
  (writer, room) => writer.u32be(room),
);
const textForm = form<string | Uint8Array>(
  (text) => 4 + Buffer.byteLength(text),
  (writer, text) => putBytes(writer, typeof text === "string" ? Buffer.from(text) : text),
);

const WRITE: { readonly [T in Token]: Form<unknown> } = {
  y: byteForm,
  u: ulongForm,
  v: form<Version>(
    () => 2,
    (writer, [major, minor]) => writer.u8(major).u8(minor),
  ),
  s: textForm,
  z: textForm,
  ay: form<Uint8Array | SizeOnly | null>(
    (value) => (value instanceof Uint8Array ? 5 + value.length : 5),
    (writer, value) => {
      if (value instanceof Uint8Array) putBytes(writer.u8(1), value);
      else writer.u8(0).u32be(value?.size ?? 0);
    },
  ),
  au: form<readonly number[] | SizeOnly | null>(
    (value) => (isList(value) ? 5 + value.length * ULONG_BYTES : 5),
    (writer, value) => {
      if (!isList(value)) writer.u8(0).u32be(value?.size ?? 0);
      else {
        writer.u8(1).u32be(value.length);
        for (const number of value) putUlong(writer, number);
      }
    },
  ),
  fy: roomForm,
  fu: roomForm,
  fA: form<readonly AttributeRoom[]>(
    (rooms) => 4 + 8 * rooms.length,
    (writer, rooms) => {
      writer.u32be(rooms.length);
      for (const { type, room } of rooms) writer.u32be(type).u32be(room);
    },
  ),
  aA: form<readonly Attribute[]>(sizeOfAttributes, putAttributes),
  M: form<Mechanism | null>(
    (mechanism, dialect) => putMechanism(new Writer(MECHANISM_BYTES), mechanism, dialect).position,
    putMechanism,
  ),
  P: form<number | null>(
    (value) => (value === null ? 0 : 1),
    (writer, value) => {
      if (value !== null) writer.u8(value);
    },
  ),
};

/** A mechanism with its label or associated data, as a client of ours writes it. */
const MECHANISM_BYTES = 8192;

function isList(value: readonly number[] | SizeOnly | null): value is readonly number[] {
  return Array.isArray(value);
}

function putUlong(writer: Writer, value: number): void {
  if (value === UNAVAILABLE) writer.u32be(NOTHING).u32be(NOTHING);
  else writer.u32be(Math.floor(value / 2 ** 32)).u32be(value % 2 ** 32);
}

function putBytes(writer: Writer, bytes: Uint8Array): void {
  writer.u32be(bytes.length).put(bytes);
}

function sizeOfAttributes(attributes: readonly Attribute[]): number {
  return attributes.reduce((sum, { type, value }) => sum + 5 + (value === null ? 0 : 4 + sizeOfValue(type, value)), 4);
}

function sizeOfValue(type: number, value: AttributeValue): number {
  if (typeof value === "boolean") return isPacked(type) ? 5 : 1;
  if (typeof value === "number") return ULONG_BYTES;
  if (value instanceof Uint8Array) return 4 + value.length;
  return isTemplate(value) ? sizeOfAttributes(value) : 4 + value.length * ULONG_BYTES;
}

/** The same in every version of the protocol. */
function isPacked(type: number): boolean {
  return kindOf(type, 0) === "packed bool";
}

function putAttributes(writer: Writer, attributes: readonly Attribute[], dialect: Dialect): void {
  writer.u32be(attributes.length);
  for (const { type, value } of attributes) {
    writer.u32be(type).u8(value === null ? 0 : 1);
    if (value === null) continue;
    writer.u32be(lengthOf(value, dialect.width ?? 8));
    if (typeof value === "boolean") (isPacked(type) ? writer.u32be(1) : writer).u8(value ? 1 : 0);
    else if (typeof value === "number") putUlong(writer, value);
    else if (value instanceof Uint8Array) putBytes(writer, value);
    else if (isTemplate(value)) putAttributes(writer, value, dialect);
    else {
      writer.u32be(value.length);
      for (const number of value) putUlong(writer, number);
    }
  }
}

function putMechanism(writer: Writer, mechanism: Mechanism | null, { version }: Dialect): Writer {
  if (mechanism === null) return writer.u32be(NOTHING);
  const { type, fields } = mechanism;
  writer.u32be(type);
  if (formOf(type, version) === undefined) return version >= 2 ? writer : writer.u32be(NOTHING);
  if (version >= 2) writer.u8(fields === null ? 0 : 1);
  for (const field of fields ?? []) {
    if (typeof field === "number") putUlong(writer, field);
    else if (field === null) writer.u32be(NOTHING);
    else putBytes(writer, field);
  }
  return writer;
}
