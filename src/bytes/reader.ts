/**
 * Reads fields from a byte array in order. Every read is checked against the end of the data: a field that is not
 * wholly there throws {@link OutOfBytes} and moves nothing.
 */
export class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Offset of the next byte, counted from the start of the array. */
  get position(): number {
    return this.#position;
  }

  /** Number of bytes not yet read. */
  get remaining(): number {
    return this.bytes.length - this.#position;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16le(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u16be(): number {
    return this.#view.getUint16(this.#advance(2), false);
  }

  u32le(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u32be(): number {
    return this.#view.getUint32(this.#advance(4), false);
  }

  /**
   * @param length number of bytes, 0 or more
   * @returns a view (not a copy) of the next `length` bytes
   */
  take(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.bytes.subarray(start, start + length);
  }

  /** @returns a view of everything not yet read */
  rest(): Uint8Array {
    return this.take(this.remaining);
  }

  #advance(length: number): number {
    if (!Number.isInteger(length) || length < 0 || length > this.remaining) {
      throw new OutOfBytes(length, this.#position, this.bytes.length);
    }
    const start = this.#position;
    this.#position += length;
    return start;
  }
}

/** A field reaches past the end of the data (Reader) or of the space (Writer). */
export class OutOfBytes extends Error {
  override readonly name = "OutOfBytes";

  constructor(wanted: number, position: number, size: number) {
    super(`${wanted} bytes wanted at offset ${position} of ${size}`);
  }
}
