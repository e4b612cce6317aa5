import { xor } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { Sha256 } from "./sha256.ts";

/** What lies between the start and the end of the SHA command. */
export interface ShaContext {
  readonly kind: "SHA" | "HMAC";
  readonly inner: Sha256;
  /** Ends the computation; 32 bytes. */
  finish(): Uint8Array;
}

export function startSha(inner = new Sha256()): ShaContext {
  return { kind: "SHA", inner, finish: () => inner.digest() };
}

/** @param key 32 bytes */
export function startHmac(key: Uint8Array): ShaContext {
  const padded = new Uint8Array(64);
  padded.set(key);
  const inner = new Sha256().update(xor(padded, new Uint8Array(64).fill(0x36)));
  const outerKey = xor(padded, new Uint8Array(64).fill(0x5c));
  return { kind: "HMAC", inner, finish: () => new Sha256().update(outerKey).update(inner.digest()).digest() };
}

/** SHA mode 6 of the 608: 32 bytes of state, the length (4, little-endian), the unfinished block. */
export function encodeContext(context: ShaContext): Uint8Array {
  const { h, length, rest } = context.inner.save();
  const writer = new Writer(36 + rest.length);
  for (const word of h) writer.u32be(word);
  return writer
    .u32le(length % 2 ** 32)
    .put(rest)
    .done();
}

/** @returns undefined when the length and the size of the unfinished block do not fit each other */
export function decodeContext(bytes: Uint8Array): ShaContext | undefined {
  const reader = new Reader(bytes);
  const h = Uint32Array.from({ length: 8 }, () => reader.u32be());
  const length = reader.u32le();
  const rest = reader.rest();
  return rest.length === length % 64 ? startSha(new Sha256({ h, length, rest })) : undefined;
}
