import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeTagRecipient, encodeTagRecipient } from "../../src/operations/age-recipients.ts";
import { generateStorageKey } from "../../src/vault/storage-key/storage-key.ts";

const malformed = expect.objectContaining({ name: "ThornkeyError", code: "MALFORMED" });
const { publicKey } = await generateStorageKey();

describe("a recipient", () => {
  it("is written and read again, P-256 alone and with ML-KEM", () => {
    const tag = encodeTagRecipient("tag", publicKey);
    const tagpq = encodeTagRecipient("tagpq", publicKey);
    expect(tag).toMatch(/^age1tag1[a-z0-9]{59}$/);
    expect(tagpq).toMatch(/^age1tagpq1[a-z0-9]{2005}$/);
    expect(decodeTagRecipient(tag)).toEqual({ kind: "tag", p256: publicKey.p256 });
    expect(decodeTagRecipient(tagpq)).toEqual({ kind: "tagpq", ...publicKey });
    expect(decodeTagRecipient(tag.toUpperCase())).toEqual(decodeTagRecipient(tag));
  });

  it("of the specification is read (C2SP, age, 'The tagged recipient types')", () => {
    const text = "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e";
    const recipient = decodeTagRecipient(text);
    expect(encodeTagRecipient("tag", { p256: recipient.p256, mlkem: new Uint8Array(1184) })).toBe(text);
  });

  it("with any character changed is refused", () => {
    const tag = encodeTagRecipient("tag", publicKey);
    fc.assert(
      fc.property(fc.nat(tag.length - 1), fc.constantFrom(..."qpzry9x8gf2tvdw0s3jn54khce6mua7lb1"), (at, character) => {
        if (tag[at] === character) return;
        const changed = tag.slice(0, at) + character + tag.slice(at + 1);
        expect(() => decodeTagRecipient(changed)).toThrow(malformed);
      }),
    );
  });

  it.each([
    "",
    "age1tag1",
    "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
    "AGE1tag1",
    "ssh-rsa AAAA",
  ])("is not %j", (text) => expect(() => decodeTagRecipient(text)).toThrow(malformed));

  it("is not made of a point off the curve", () => {
    const p256 = publicKey.p256.slice();
    p256[64]! ^= 1;
    expect(() => encodeTagRecipient("tagpq", { ...publicKey, p256 })).toThrow(malformed);
    expect(() => encodeTagRecipient("tagpq", { ...publicKey, mlkem: new Uint8Array(1183) })).toThrow(malformed);
  });
});
