import { createPublicKey, createSign, createVerify, generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, equal, fromHex } from "../../src/bytes/bytes.ts";
import {
  ecdsaSignatureFromDer,
  ecdsaSignatureToDer,
  p256SignatureFromDer,
  p256SignatureToDer,
  p256Spki,
} from "../../src/bytes/der.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
/** Halves of a signature, small and large numbers alike. */
const half = fc.oneof(
  bytes(32),
  fc
    .integer({ min: 0, max: 32 })
    .chain((zeros) => bytes(32 - zeros).map((rest) => concat(new Uint8Array(zeros), rest))),
);

describe("DER", () => {
  it("makes the public key that node:crypto makes", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ type: "spki", format: "der" });
    expect(equal(p256Spki(spki.subarray(-64)), spki)).toBe(true);
    expect(createPublicKey({ key: Buffer.from(p256Spki(spki.subarray(-64))), type: "spki", format: "der" })).toEqual(
      publicKey,
    );
    expect(() => p256Spki(new Uint8Array(65))).toThrow(RangeError);
  });

  it("turns any signature into DER and back", () => {
    fc.assert(
      fc.property(half, half, (r, s) => {
        const raw = concat(r, s);
        expect(equal(p256SignatureFromDer(p256SignatureToDer(raw)), raw)).toBe(true);
      }),
    );
  });

  it("turns signatures of node:crypto into the form of the other encoding", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    for (let i = 0; i < 300; i++) {
      const der = createSign("sha256").update(String(i)).sign(privateKey);
      const raw = p256SignatureFromDer(der);
      expect(equal(p256SignatureToDer(raw), der)).toBe(true);
      const key = { key: publicKey, dsaEncoding: "ieee-p1363" } as const;
      expect(createVerify("sha256").update(String(i)).verify(key, raw)).toBe(true);
    }
  });

  it.each([
    ["P-384", 48],
    ["P-521", 66],
    ["secp256k1", 32],
  ])("turns signatures of %s into the form of the other encoding", (namedCurve, size) => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
    for (let i = 0; i < 60; i++) {
      const der = createSign("sha512").update(String(i)).sign(privateKey);
      const raw = ecdsaSignatureFromDer(der, size);
      expect(raw.length).toBe(2 * size);
      expect(equal(ecdsaSignatureToDer(raw), der)).toBe(true);
      const key = { key: publicKey, dsaEncoding: "ieee-p1363" } as const;
      expect(createVerify("sha512").update(String(i)).verify(key, raw)).toBe(true);
    }
  });

  it("takes the long form of a length only where the short one does not do", () => {
    const long = ecdsaSignatureToDer(new Uint8Array(132).fill(0x91));
    expect(long.subarray(0, 3)).toEqual(Uint8Array.of(0x30, 0x81, 2 * (2 + 1 + 66)));
    expect(() => ecdsaSignatureFromDer(long.subarray(0, -1), 66)).toThrow();
    expect(() => ecdsaSignatureFromDer(fromHex("30 81 06 02 01 01 02 01 01"), 66)).toThrow();
    expect(() => ecdsaSignatureFromDer(long, 48)).toThrow();
    expect(() => ecdsaSignatureToDer(new Uint8Array(133))).toThrow(RangeError);
  });

  it.each([
    ["nothing", ""],
    ["no sequence", "31 06 02 01 01 02 01 01"],
    ["a byte after the sequence", "30 06 02 01 01 02 01 01 00"],
    ["a byte after the numbers", "30 07 02 01 01 02 01 01 00"],
    ["a third number", "30 09 02 01 01 02 01 01 02 01 01"],
    ["one number", "30 03 02 01 01"],
    ["a cut number", "30 06 02 01 01 02 02 01"],
    ["an empty number", "30 05 02 00 02 01 01"],
    ["a negative number", "30 06 02 01 80 02 01 01"],
    ["a number with a needless zero", "30 07 02 02 00 7f 02 01 01"],
    ["two zeros", "30 07 02 02 00 00 02 01 01"],
    ["a long form of a length", "30 81 06 02 01 01 02 01 01"],
    ["an indefinite length", "30 80 02 01 01 02 01 01 00 00"],
    ["another type", "30 06 04 01 01 02 01 01"],
    ["33 bytes of number", `30 26 02 21 01 ${"00".repeat(32)} 02 01 01`],
  ])("refuses %s", (_, hex) => {
    expect(() => p256SignatureFromDer(fromHex(hex))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  });

  it("takes only what it would write itself", () => {
    const der = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.tuple(half, half, fc.nat(80), fc.nat(255)).map(([r, s, at, value]) => {
        const bent = p256SignatureToDer(concat(r, s));
        bent[at % bent.length] = value;
        return bent;
      }),
    );
    fc.assert(
      fc.property(der, (input) => {
        let raw: Uint8Array;
        try {
          raw = p256SignatureFromDer(input);
        } catch {
          return;
        }
        expect(equal(p256SignatureToDer(raw), input)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
