import { OutOfBytes } from "./reader.ts";

/**
 * Writes fields in order into a space of fixed size. A field that does not fit, or a number outside its range, throws
 * and writes nothing.
 */
export class Writer {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  /** @param size the space in bytes; the result may be shorter */
  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Number of bytes written so far. */
  get position(): number {
    return this.#position;
  }

  u8(value: number): this {
    checkRange(value, 0xff);
    this.#view.setUint8(this.#advance(1), value);
    return this;
  }

  u16le(value: number): this {
    checkRange(value, 0xffff);
    this.#view.setUint16(this.#advance(2), value, true);
    return this;
  }

  u16be(value: number): this {
    checkRange(value, 0xffff);
    this.#view.setUint16(this.#advance(2), value, false);
    return this;
  }

  u32le(value: number): this {
    checkRange(value, 0xffffffff);
    this.#view.setUint32(this.#advance(4), value, true);
    return this;
  }

  u32be(value: number): this {
    checkRange(value, 0xffffffff);
    this.#view.setUint32(this.#advance(4), value, false);
    return this;
  }

  /** Copies `bytes`. */
  put(bytes: Uint8Array): this {
    this.#bytes.set(bytes, this.#advance(bytes.length));
    return this;
  }

  /** Leaves `length` zero bytes. */
  zeros(length: number): this {
    this.#advance(length);
    return this;
  }

  /** @returns a view of what was written so far */
  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#position);
  }

  #advance(length: number): number {
    if (!Number.isInteger(length) || length < 0 || length > this.#bytes.length - this.#position) {
      throw new OutOfBytes(length, this.#position, this.#bytes.length);
    }
    const start = this.#position;
    this.#position += length;
    return start;
  }
}

function checkRange(value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new RangeError(`${value} is not an integer from 0 to ${most}`);
  }
}
