/** The data types of SSH (RFC 4251, 5). */
import { concat } from "./bytes.ts";
import type { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

/** `string`: its length in 4 bytes, then the bytes. Text is written as UTF-8. */
export function sshString(value: Uint8Array | string): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return new Writer(4 + bytes.length).u32be(bytes.length).put(bytes).done();
}

/** Several `string`s, one after the other. */
export function sshStrings(...values: readonly (Uint8Array | string)[]): Uint8Array {
  return concat(...values.map(sshString));
}

/** The content of an `mpint` that is 0 or more. @param number unsigned, big endian, with or without leading zeros */
export function sshNumber(number: Uint8Array): Uint8Array {
  let start = 0;
  while (start < number.length && number[start] === 0) start++;
  const digits = number.subarray(start);
  return (digits[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), digits) : digits;
}

export function sshU32(value: number): Uint8Array {
  return new Writer(4).u32be(value).done();
}

/** @returns a view of the next `string`. @throws OutOfBytes */
export function readSshString(reader: Reader): Uint8Array {
  return reader.take(reader.u32be());
}

/** @returns the next `string` as text; what is no UTF-8 is replaced. @throws OutOfBytes */
export function readSshText(reader: Reader): string {
  return new TextDecoder().decode(readSshString(reader));
}
