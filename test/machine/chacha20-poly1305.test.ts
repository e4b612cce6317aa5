import { createCipheriv, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "../../src/bytes/bytes.ts";
import { chaCha20Poly1305, portableChaCha } from "../../src/machine/openssl/chacha20-poly1305.ts";

const WAYS = [
  ["native", chaCha20Poly1305],
  ["portable", portableChaCha],
] as const;

/** node:crypto in one go, as the reference. */
function reference(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array): Buffer {
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

describe.each(WAYS)("ChaCha20-Poly1305, the %s way", (_, make) => {
  it("enciphers as RFC 8439, 2.4.2, publishes", () => {
    // The AEAD's stream begins with block 1, as that example's does.
    const text = Buffer.from(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    );
    const out = new Uint8Array(text.length + 16);
    const key = fromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    make(key).seal(fromHex("000000000000004a00000000"), text, out);
    expect(toHex(out.subarray(0, 32))).toBe("6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b");
  });

  it("seals as node:crypto does, and opens it again, one after the other with one key", () => {
    const key = randomBytes(32);
    const cipher = make(key);
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 70_000 }),
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        (plain, nonce) => {
          const sealed = new Uint8Array(plain.length + 16);
          cipher.seal(nonce, plain, sealed);
          expect(reference(key, nonce, plain).equals(sealed)).toBe(true);
          const opened = new Uint8Array(plain.length);
          expect(cipher.open(nonce, sealed, opened)).toBe(true);
          expect(Buffer.from(plain).equals(opened)).toBe(true);
          sealed[sealed.length - 1]! ^= 1;
          expect(cipher.open(nonce, sealed, opened)).toBe(false);
          expect(opened.every((byte) => byte === 0)).toBe(true);
        },
      ),
    );
    cipher.close();
  });

  it("writes nowhere but where it was told", () => {
    const cipher = make(randomBytes(32));
    const nonce = new Uint8Array(12);
    const around = new Uint8Array(100).fill(7);
    cipher.seal(nonce, new Uint8Array(20), around.subarray(10));
    expect([...around.subarray(0, 10), ...around.subarray(46)].every((byte) => byte === 7)).toBe(true);
    expect(() => cipher.seal(nonce, new Uint8Array(20), new Uint8Array(35))).toThrow(RangeError);
    expect(() => cipher.open(nonce, new Uint8Array(36), new Uint8Array(19))).toThrow(RangeError);
    expect(() => cipher.open(nonce, new Uint8Array(15), new Uint8Array(19))).toThrow(RangeError);
    expect(() => cipher.seal(new Uint8Array(8), new Uint8Array(20), new Uint8Array(36))).toThrow(RangeError);
    cipher.close();
  });
});
