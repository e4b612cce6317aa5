/** @returns one array holding all `parts` in order */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let position = 0;
  for (const part of parts) {
    joined.set(part, position);
    position += part.length;
  }
  return joined;
}

/** Compares public data. Secrets are compared with `timingSafeEqual` of node:crypto. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** @returns `a` xor `b`, as long as the shorter of the two */
export function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.min(a.length, b.length));
  for (let i = 0; i < result.length; i++) result[i] = (a[i] ?? 0) ^ (b[i] ?? 0);
  return result;
}

/** @returns lower-case hexadecimal digits, two a byte, nothing between */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/**
 * @param text pairs of hexadecimal digits; spaces are ignored
 * @throws RangeError when there is anything else, or half a byte
 */
export function fromHex(text: string): Uint8Array {
  const digits = text.replaceAll(/\s/g, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) throw new RangeError("not hexadecimal");
  return new Uint8Array(Buffer.from(digits, "hex"));
}
