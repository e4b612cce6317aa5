import { Writer } from "../../bytes/writer.ts";

/** One I2C transaction, as a connection asks for it. */
export type Transaction =
  | { readonly kind: "write"; readonly address: number; readonly bytes: Uint8Array }
  | { readonly kind: "read"; readonly address: number; readonly length: number };

const WRITE = 0x57;
const READ = 0x52;
const HEAD = 4;

export const ACK = Uint8Array.of(0, 0, 0);
export const NACK = Uint8Array.of(1, 0, 0);

/** The reply to a read that was acknowledged. */
export function readReply(bytes: Uint8Array): Uint8Array {
  return new Writer(3 + bytes.length).u8(0).u16le(bytes.length).put(bytes).done();
}

/** Takes a stream apart into requests: op, address, length (LE 2), and for a write the bytes. */
export class FrameParser {
  #pending: Uint8Array = new Uint8Array();

  /**
   * Calls `each` for every request that is complete with this chunk.
   *
   * @returns false when the stream is not of this protocol; it cannot be read on then
   */
  push(chunk: Uint8Array, each: (transaction: Transaction) => void): boolean {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    while (bytes.length - at >= HEAD) {
      const op = bytes[at];
      const address = bytes[at + 1] ?? 0;
      const length = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8);
      if (op === READ) {
        each({ kind: "read", address, length });
        at += HEAD;
      } else if (op === WRITE) {
        if (bytes.length - at < HEAD + length) break;
        each({ kind: "write", address, bytes: bytes.subarray(at + HEAD, at + HEAD + length) });
        at += HEAD + length;
      } else return false;
    }
    this.#pending = bytes.slice(at);
    return true;
  }
}
