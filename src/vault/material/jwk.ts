/**
 * JSON Web Keys (RFC 7517, 7518, 8037) read as bytes: `JSON.parse` would make strings of the private parts, and strings
 * cannot be zeroed.
 */
import { ThornkeyError } from "../../errors.ts";
import { decodeBase64, isSpace } from "./base64.ts";

const CODE = { quote: 0x22, backslash: 0x5c, open: 0x7b, close: 0x7d, colon: 0x3a, comma: 0x2c } as const;
/** What can stand in a value that is neither a string nor holds one: numbers, true, false, null. */
const LITERAL = /^(?:true|false|null|-?[0-9]{1,20})$/;
const MOST_MEMBERS = 32;

/** The members of a JWK: their raw characters. Arrays of strings (key_ops, x5c) are passed over. */
export interface Jwk {
  /** @returns a member that is a short text, such as `kty`; undefined when there is none */
  text(name: string): string | undefined;
  /** @returns a member decoded from base64url, in a new array. @throws ThornkeyError `MALFORMED` when it is not there */
  bytes(name: string): Uint8Array;
  has(name: string): boolean;
}

export function isJwk(bytes: Uint8Array): boolean {
  return bytes.find((character) => !isSpace(character)) === CODE.open;
}

/** @throws ThornkeyError `MALFORMED` */
export function readJwk(bytes: Uint8Array): Jwk {
  const members = scan(bytes);
  return {
    has: (name) => members.has(name),
    text(name) {
      const value = members.get(name);
      return value === undefined || value.length > 64 ? undefined : Buffer.from(value).toString("latin1");
    },
    bytes(name) {
      const value = members.get(name);
      if (value === undefined) throw malformed(`without its member ${name}`);
      return decodeBase64(value);
    },
  };
}

/** @returns views of the strings of a flat object */
function scan(bytes: Uint8Array): Map<string, Uint8Array> {
  const members = new Map<string, Uint8Array>();
  const names = new Set<string>();
  let position = 0;

  function next(): number {
    while (isSpace(bytes[position] ?? 0)) position++;
    return bytes[position] ?? -1;
  }

  function expect(code: number): void {
    if (next() !== code) throw malformed("that is not JSON");
    position++;
  }

  /** No escapes: nothing in a JWK that matters here needs them. */
  function string(): Uint8Array {
    expect(CODE.quote);
    const start = position;
    for (;;) {
      const code = bytes[position] ?? -1;
      if (code < 0x20 || code === CODE.backslash) throw malformed("with a string that cannot be read");
      position++;
      if (code === CODE.quote) return bytes.subarray(start, position - 1);
    }
  }

  function passOver(): void {
    if (next() !== 0x5b) {
      literal();
      return;
    }
    position++;
    if (next() === 0x5d) {
      position++;
      return;
    }
    for (;;) {
      string();
      const code = next();
      position++;
      if (code === 0x5d) return;
      if (code !== CODE.comma) throw malformed("that is not JSON");
    }
  }

  function literal(): void {
    const start = position;
    while (position - start < 24 && /[-a-z0-9]/.test(String.fromCharCode(bytes[position] ?? 0))) position++;
    if (!LITERAL.test(Buffer.from(bytes.subarray(start, position)).toString("latin1")))
      throw malformed("that is not JSON");
  }

  expect(CODE.open);
  for (;;) {
    const name = Buffer.from(string()).toString("latin1");
    if (names.has(name) || names.size >= MOST_MEMBERS) throw malformed("with a member twice, or too many");
    names.add(name);
    expect(CODE.colon);
    if (next() === CODE.quote) members.set(name, string());
    else passOver();
    const code = next();
    position++;
    if (code === CODE.close) break;
    if (code !== CODE.comma) throw malformed("that is not JSON");
  }
  if (next() !== -1) throw malformed("with something after it");
  return members;
}

function malformed(what: string): ThornkeyError {
  return new ThornkeyError("MALFORMED", `a JSON Web Key ${what}`);
}
