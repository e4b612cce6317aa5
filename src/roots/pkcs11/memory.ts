import { endianness } from "node:os";
import { loadKoffi } from "../../machine/libc.ts";

/** A CK_ULONG that may be more than a number holds exactly: a handle may be any. */
export type Ulong = number | bigint;

/** Where something lies in memory. */
export type Address = number;

/** Type, and value as it lies in memory. */
export type Attribute = readonly [type: number, value: Uint8Array | boolean | Ulong | string];

/**
 * Memory that a module reads and fills: all structures of PKCS #11 are made of CK_ULONGs and pointers, which are as long
 * as a C long, so they are written here word by word. What is taken is given back all at once by {@link clear}, which
 * zeroes it.
 */
export class Memory {
  /** Bytes of a CK_ULONG and of a pointer. */
  readonly word: 4 | 8;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #base: number;
  readonly #little = endianness() === "LE";
  #used = 0;

  /** @param size bytes, more than all that one call needs */
  constructor(size: number) {
    const koffi = loadKoffi();
    this.word = koffi.sizeof("unsigned long") === 8 ? 8 : 4;
    const memory = koffi.alloc("uint8_t", size);
    const buffer = koffi.view(memory, size);
    this.#base = Number(koffi.address(memory));
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
  }

  /** @returns the address of `size` zero bytes */
  room(size: number): Address {
    const at = this.#used;
    this.#used += Math.ceil(size / 8) * 8;
    if (this.#used > this.#bytes.length) throw new RangeError(`${size} bytes do not fit into the module's memory`);
    return this.#base + at;
  }

  bytes(bytes: Uint8Array): Address {
    const address = this.room(bytes.length);
    this.#bytes.set(bytes, address - this.#base);
    return address;
  }

  /** A structure of CK_ULONGs and pointers. */
  words(...words: readonly Ulong[]): Address {
    const address = this.room(words.length * this.word);
    words.forEach((word, index) => {
      this.setUlong(address + index * this.word, word);
    });
    return address;
  }

  /** An array of CK_ATTRIBUTE. */
  attributes(attributes: readonly Attribute[]): Address {
    return this.words(
      ...attributes.flatMap(([type, value]) => {
        const bytes = this.#valueOf(value);
        return [type, this.bytes(bytes), bytes.length];
      }),
    );
  }

  #valueOf(value: Attribute[1]): Uint8Array {
    if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
    if (typeof value === "string") return new TextEncoder().encode(value);
    if (value instanceof Uint8Array) return value;
    const bytes = new Uint8Array(this.word);
    const view = new DataView(bytes.buffer);
    if (this.word === 8) view.setBigUint64(0, BigInt(value), this.#little);
    else view.setUint32(0, Number(value), this.#little);
    return bytes;
  }

  setUlong(address: Address, value: Ulong): void {
    const at = address - this.#base;
    if (this.word === 8) this.#view.setBigUint64(at, BigInt(value), this.#little);
    else this.#view.setUint32(at, Number(value), this.#little);
  }

  ulong(address: Address): Ulong {
    const at = address - this.#base;
    if (this.word === 4) return this.#view.getUint32(at, this.#little);
    const value = this.#view.getBigUint64(at, this.#little);
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }

  /** @returns a copy */
  read(address: Address, length: number): Uint8Array {
    const at = address - this.#base;
    if (!(length >= 0 && at + length <= this.#bytes.length)) throw new RangeError(`${length} bytes are not there`);
    return this.#bytes.slice(at, at + length);
  }

  /** Gives back, when `use` is done, what it took. */
  within<Result>(use: () => Result): Result {
    const before = this.#used;
    try {
      return use();
    } finally {
      this.#bytes.fill(0, before, this.#used);
      this.#used = before;
    }
  }

  clear(): void {
    this.#bytes.fill(0, 0, this.#used);
    this.#used = 0;
  }
}
