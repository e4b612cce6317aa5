import { Decrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from "age-encryption";
import fc from "fast-check";
import { expect, it } from "vitest";
import { encodeHeader, headerLength, parseHeader } from "../../../src/client/locking/header.ts";
import { lockBuffer } from "../../../src/client/locking/index.ts";
import { makeVault, refusal, sample } from "./lab.ts";

const argument = fc.stringMatching(/^[\x21-\x7e]{1,80}$/);
const stanza = fc.record({
  args: fc.array(argument, { minLength: 1, maxLength: 5 }),
  body: fc.uint8Array({ maxLength: 200 }),
});

it("what is written as a header is read again, and ends where it ends", () => {
  fc.assert(
    fc.property(fc.array(stanza, { minLength: 1, maxLength: 20 }), fc.uint8Array(), (stanzas, payload) => {
      const mac = new Uint8Array(32).fill(9);
      let authenticated: Uint8Array | undefined;
      const header = encodeHeader(stanzas, (bytes) => {
        authenticated = bytes.slice();
        return mac;
      });
      expect(headerLength(Buffer.concat([header, payload]))).toBe(header.length);
      for (const part of [1, header.length - 1]) expect(headerLength(header.subarray(0, part))).toBeUndefined();
      const parsed = parseHeader(header);
      expect(parsed.stanzas.map(({ args, body }) => ({ args, body: Buffer.from(body) }))).toEqual(
        stanzas.map(({ args, body }) => ({ args, body: Buffer.from(body) })),
      );
      expect(Buffer.from(parsed.mac).equals(mac)).toBe(true);
      expect(Buffer.from(parsed.authenticated).equals(authenticated!)).toBe(true);
    }),
  );
});

it("bytes that are no header are refused, never anything else", () => {
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.string().map((text) => Buffer.from(`age-encryption.org/v1\n-> ${text}\n--- ${"A".repeat(43)}\n`)),
  );
  fc.assert(
    fc.property(anything, (bytes) => {
      for (const read of [headerLength, parseHeader]) {
        try {
          read(bytes);
        } catch (error) {
          expect(error).toMatchObject(refusal("MALFORMED"));
        }
      }
    }),
    { numRuns: 1000 },
  );
});

it("a recipient of a kind left to the age-encryption package is served as well", async () => {
  const vault = await makeVault();
  const identity = await generateHybridIdentity();
  const plain = sample(1000);
  const locked = await lockBuffer(plain, [await identityToRecipient(identity), vault.tagpq]);
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  expect(Buffer.from(await decrypter.decrypt(locked)).equals(plain)).toBe(true);
  const { stanzas } = parseHeader(locked.subarray(0, headerLength(locked)));
  expect(vault.key.open(stanzas)?.length).toBe(16);
});

it("a recipient with a letter wrong, or a point of low order, is none", async () => {
  const recipient = await identityToRecipient(await generateX25519Identity());
  const wrong = recipient.slice(0, -1) + (recipient.endsWith("q") ? "p" : "q");
  // Zero, by bech32: a shared secret that everybody knows.
  const zero = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z";
  for (const text of [wrong, zero, "", "age1", "age1tag1x", "age1pq1x", `${recipient} `]) {
    await expect(lockBuffer(sample(1), [text])).rejects.toMatchObject(refusal("USAGE"));
  }
});
