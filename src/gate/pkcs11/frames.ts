/**
 * Frames of p11-kit's RPC protocol:
 *
 *     u32 code | u32 length of options | u32 length of body | options | body
 *
 * The code numbers the requests of one connection; the answer carries it too. Options name a module, and mean nothing
 * here.
 */
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { Malformed } from "./codec.ts";

const HEAD_BYTES = 12;
const LONGEST_OPTIONS = 4096;
export const LONGEST_BODY = 16 << 20;

export interface FrameReader {
  /**
   * @param chunk what has arrived; it is not needed any more afterwards
   * @param take is called for each whole frame. The body is its own.
   * @throws Malformed for lengths nobody may send, and for code 0; nothing can be read after that
   */
  push(chunk: Uint8Array, take: (code: number, body: Uint8Array) => void): void;
  /** Zeroes what has arrived of a frame. */
  close(): void;
}

export function createFrameReader(): FrameReader {
  const head = new Uint8Array(HEAD_BYTES);
  let headFilled = 0;
  let code = 0;
  let optionsLeft = 0;
  let body: Uint8Array | undefined;
  let bodyFilled = 0;
  let expected = 0;

  function begin(): void {
    const reader = new Reader(head);
    code = reader.u32be();
    optionsLeft = reader.u32be();
    expected = reader.u32be();
    if (code === 0 || optionsLeft > LONGEST_OPTIONS || expected > LONGEST_BODY) throw new Malformed("no such frame");
    bodyFilled = 0;
    body = new Uint8Array(0);
  }

  /** Room grows with what has come: a header alone reserves nothing. */
  function reserve(bytes: number): Uint8Array {
    const room = body ?? new Uint8Array(0);
    const needed = bodyFilled + bytes;
    if (room.length >= needed) return room;
    const grown = new Uint8Array(Math.min(expected, Math.max(needed, 2 * room.length)));
    grown.set(room.subarray(0, bodyFilled));
    room.fill(0);
    body = grown;
    return grown;
  }

  return {
    push(chunk, take) {
      let rest = chunk;
      const next = (most: number) => {
        const part = rest.subarray(0, most);
        rest = rest.subarray(part.length);
        return part;
      };
      while (rest.length > 0) {
        if (body === undefined) {
          const part = next(HEAD_BYTES - headFilled);
          head.set(part, headFilled);
          headFilled += part.length;
          if (headFilled < HEAD_BYTES) return;
          begin();
        }
        optionsLeft -= next(optionsLeft).length;
        if (optionsLeft === 0) {
          const part = next(expected - bodyFilled);
          reserve(part.length).set(part, bodyFilled);
          bodyFilled += part.length;
        }
        if (optionsLeft > 0 || bodyFilled < expected) continue;
        const whole = body ?? new Uint8Array(0);
        body = undefined;
        headFilled = 0;
        take(code, whole);
      }
    },
    close() {
      body?.fill(0);
    },
  };
}

/** @returns a frame without options: an answer, or a request of a client that has none */
export function frameOf(code: number, body: Uint8Array): Uint8Array {
  return new Writer(HEAD_BYTES + body.length).u32be(code).u32be(0).u32be(body.length).put(body).done();
}
