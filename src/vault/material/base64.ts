import { ThornkeyError } from "../../errors.ts";

/** Value of each character of RFC 4648, tables 1 and 2; of others 255. */
const VALUES = new Uint8Array(256).fill(255);
for (const alphabet of ["+/", "-_"]) {
  const characters = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789${alphabet}`;
  for (let value = 0; value < characters.length; value++) VALUES[characters.charCodeAt(value)] = value;
}
const PADDING = 0x3d;

/**
 * Base64 or base64url without making a string of it, for strings cannot be zeroed.
 *
 * @param text with any white space between, padded or not
 * @returns a new array
 * @throws ThornkeyError `MALFORMED`
 */
export function decodeBase64(text: Uint8Array): Uint8Array {
  const digits = text.filter((character) => !isSpace(character));
  let length = digits.length;
  while (length > 0 && digits.length - length < 2 && digits[length - 1] === PADDING) length--;
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  let [bits, count, position, good] = [0, 0, 0, length % 4 !== 1];
  for (const character of digits.subarray(0, length)) {
    const value = VALUES[character] ?? 255;
    good &&= value < 64;
    bits = ((bits << 6) | value) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes[position++] = (bits >> count) & 0xff;
    }
  }
  const left = bits & ((1 << count) - 1);
  digits.fill(0);
  if (good && left === 0) return bytes;
  bytes.fill(0);
  throw new ThornkeyError("MALFORMED", "not base64");
}

export function isSpace(character: number): boolean {
  return character === 0x20 || (character >= 0x09 && character <= 0x0d);
}
