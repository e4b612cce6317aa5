import { inspect } from "node:util";

/**
 * Bytes that must not be seen. They cannot be printed, logged or turned into JSON by accident, and are zeroed when they
 * are no longer needed. A JavaScript runtime may have copied them all the same (SECURITY.md).
 */
export class Secret {
  #bytes: Uint8Array | undefined;

  /** @param bytes taken over, not copied: the caller keeps no other use of them */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#bytes?.length ?? 0;
  }

  /**
   * @param reader called with the bytes; must not keep them
   * @throws Error when it was destroyed
   */
  use<Result>(reader: (bytes: Uint8Array) => Result): Result {
    if (this.#bytes === undefined) throw new Error("this secret was destroyed");
    return reader(this.#bytes);
  }

  /** Zeroes the bytes. */
  destroy(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [inspect.custom](): string {
    return "[secret]";
  }
}
