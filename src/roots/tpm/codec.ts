/**
 * How values stand in the bytes of a TPM command or answer: a codec for each kind of field, and codecs made of codecs.
 * All numbers are big endian (TPM 2.0 Part 2).
 */
import { OutOfBytes, Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";

export interface Codec<T> {
  write(writer: Writer, value: T): void;
  /** Fails with OutOfBytes or {@link BadEncoding}. */
  read(reader: Reader): T;
  /** A TPM2B: as the first parameter of a command or an answer it can be encrypted in a session (Part 1, 21). */
  readonly sized?: boolean;
}

/** What a codec reads and writes. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

/** A field whose value the specification does not allow here. */
export class BadEncoding extends Error {
  override readonly name = "BadEncoding";
}

/** Commands and answers are at most this long (TPM_PT_MAX_COMMAND_SIZE of every TPM of today). */
export const LARGEST = 4096;

export const u8: Codec<number> = { write: (writer, value) => void writer.u8(value), read: (reader) => reader.u8() };
export const u16: Codec<number> = {
  write: (writer, value) => void writer.u16be(value),
  read: (reader) => reader.u16be(),
};
export const u32: Codec<number> = {
  write: (writer, value) => void writer.u32be(value),
  read: (reader) => reader.u32be(),
};
export const u64: Codec<bigint> = {
  write: (writer, value) => void writer.u32be(Number(value >> 32n)).u32be(Number(value & 0xffffffffn)),
  read: (reader) => (BigInt(reader.u32be()) << 32n) | BigInt(reader.u32be()),
};

/** TPM2B of bytes: a length of two bytes, and so many bytes. Read as a copy. */
export const bytes2b: Codec<Uint8Array> = {
  sized: true,
  write: (writer, value) => void writer.u16be(value.length).put(value),
  read: (reader) => reader.take(reader.u16be()).slice(),
};

/** Bytes without a length, `length` of them. */
export function fixed(length: number): Codec<Uint8Array> {
  return {
    write(writer, value) {
      if (value.length !== length) throw new BadEncoding(`${value.length} bytes where ${length} belong`);
      writer.put(value);
    },
    read: (reader) => reader.take(length).slice(),
  };
}

/** Everything up to the end. */
export const rest: Codec<Uint8Array> = {
  write: (writer, value) => void writer.put(value),
  read: (reader) => reader.rest().slice(),
};

type Fields = { readonly [name: string]: Codec<never> | Codec<unknown> };
type StructOf<F> = { readonly [Name in keyof F]: ValueOf<F[Name]> };

/** Fields one after the other. */
export function struct<const F extends { readonly [name: string]: unknown }>(fields: F): Codec<StructOf<F>> {
  const list = Object.entries(fields as unknown as Fields) as [string, Codec<unknown>][];
  const [first] = list;
  return {
    sized: first?.[1].sized === true,
    write(writer, value) {
      for (const [name, codec] of list) codec.write(writer, (value as { readonly [name: string]: unknown })[name]);
    },
    read(reader) {
      const value: { [name: string]: unknown } = {};
      for (const [name, codec] of list) value[name] = codec.read(reader);
      return value as StructOf<F>;
    },
  };
}

/** A list: how many, four bytes, and then each. @param most longer ones are not believed */
export function list<T>(item: Codec<T>, most: number): Codec<readonly T[]> {
  return {
    write(writer, items) {
      writer.u32be(items.length);
      for (const one of items) item.write(writer, one);
    },
    read(reader) {
      const count = reader.u32be();
      if (count > most) throw new BadEncoding(`a list of ${count}`);
      return Array.from({ length: count }, () => item.read(reader));
    },
  };
}

/** TPM2B of a structure: it must fill the length exactly. Empty is `undefined`. */
export function sized<T>(inner: Codec<T>): Codec<T> {
  return {
    sized: true,
    write(writer, value) {
      const body = encode(inner, value);
      writer.u16be(body.length).put(body);
      body.fill(0); // it may have been a TPM2B_SENSITIVE_CREATE
    },
    read(reader) {
      const length = reader.u16be();
      const inside = new Reader(reader.take(length));
      const value = inner.read(inside);
      if (inside.remaining > 0) throw new BadEncoding(`${inside.remaining} bytes more than the structure has`);
      return value;
    },
  };
}

/**
 * A union told apart by the number before it (TPMU). @param selector how the number stands
 *
 * @param variants by number; what is not among them is not allowed
 */
export function tagged<const V extends { readonly [tag: number]: Codec<unknown> }>(
  selector: Codec<number>,
  variants: V,
): Codec<{ readonly [Tag in keyof V]: { readonly type: Tag } & ValueOf<V[Tag]> }[keyof V]> {
  type Value = { readonly type: number };
  const of = (type: number) => {
    const codec = (variants as { readonly [tag: number]: Codec<unknown> })[type];
    if (codec === undefined) throw new BadEncoding(`0x${type.toString(16)} is not allowed here`);
    return codec;
  };
  return {
    write(writer, value) {
      const { type } = value as Value;
      selector.write(writer, type);
      of(type).write(writer, value);
    },
    read(reader) {
      const type = selector.read(reader);
      return { type, ...(of(type).read(reader) as object) } as never;
    },
  };
}

/** Most values are smaller, and a whole command's space costs more than writing them. */
const USUAL = 256;

/** @returns the bytes of a value, in an array of their own */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  try {
    return encodeWithin(USUAL, codec, value);
  } catch (error) {
    if (!(error instanceof OutOfBytes)) throw error;
    return encodeWithin(LARGEST, codec, value);
  }
}

function encodeWithin<T>(size: number, codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer(size);
  try {
    codec.write(writer, value);
    return writer.done().slice();
  } finally {
    writer.done().fill(0); // it may be a secret
  }
}
