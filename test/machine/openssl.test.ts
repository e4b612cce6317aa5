import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import fc from "fast-check";
import koffi from "koffi";
import { describe, expect, it } from "vitest";
import { concat, fromHex } from "../../src/bytes/bytes.ts";
import { verifiesNatively, verifyInJavaScript, verifyP256Digest } from "../../src/machine/openssl.ts";

const N = p256.Point.Fn.ORDER;
const P = p256.Point.Fp.ORDER;
const number = (value: bigint) => fromHex(value.toString(16).padStart(64, "0"));
const uncompressed = (secret: Uint8Array) => p256.getPublicKey(secret, false).subarray(1);
const sha256 = (text: Uint8Array) => new Uint8Array(createHash("sha256").update(text).digest());

const ways = [
  ["natively", verifyP256Digest],
  ["in JavaScript", verifyInJavaScript],
] as const;

const scalar = fc.bigInt({ min: 1n, max: N - 1n }).map(number);
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const seeded = { numRuns: 60 };

const peekError = koffi.load(null).func("unsigned long ERR_peek_error()");

describe.each(ways)("a P-256 signature over a digest, verified %s", (_, verify) => {
  it("is right when noble made it, with low s and with high s", () => {
    fc.assert(
      fc.property(scalar, digest, (secret, hash) => {
        const signature = p256.sign(hash, secret, { prehash: false, lowS: true });
        expect(verify(uncompressed(secret), hash, signature)).toBe(true);
        const { r, s } = p256.Signature.fromBytes(signature);
        expect(verify(uncompressed(secret), hash, concat(number(r), number(N - s)))).toBe(true);
      }),
      seeded,
    );
  });

  it("is right when node:crypto made it", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const point = new Uint8Array(publicKey.export({ type: "spki", format: "der" }).subarray(-64));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (text) => {
        const signature = sign("sha256", text, { key: privateKey, dsaEncoding: "ieee-p1363" });
        expect(verify(point, sha256(text), new Uint8Array(signature))).toBe(true);
      }),
      seeded,
    );
  });

  it("is wrong after any change of one bit in key, digest or signature", () => {
    fc.assert(
      fc.property(scalar, digest, fc.nat(160 * 8 - 1), (secret, hash, bit) => {
        const all = concat(uncompressed(secret), hash, p256.sign(hash, secret, { prehash: false }));
        all[bit >> 3] = (all[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(verify(all.subarray(0, 64), all.subarray(64, 96), all.subarray(96))).toBe(false);
        expect(peekError()).toBe(0);
      }),
      seeded,
    );
  });

  it("is wrong with r or s of 0, n, or above", () => {
    const secret = number(7n);
    const hash = sha256(Uint8Array.of(1));
    const { r, s } = p256.Signature.fromBytes(p256.sign(hash, secret, { prehash: false }));
    const bad = [0n, N, N + 1n, N + r > (1n << 256n) - 1n ? (1n << 256n) - 1n : N + r, (1n << 256n) - 1n];
    const pairs: [bigint, bigint][] = [
      [0n, 0n],
      ...bad.flatMap((x): [bigint, bigint][] => [
        [x, s],
        [r, x],
      ]),
    ];
    expect(verify(uncompressed(secret), hash, concat(number(r), number(s)))).toBe(true);
    for (const [r, s] of pairs) expect(verify(uncompressed(secret), hash, concat(number(r), number(s)))).toBe(false);
    expect(peekError()).toBe(0);
  });

  it("is wrong when the point is not on the curve", () => {
    const hash = new Uint8Array(32);
    const signature = concat(number(1n), number(1n));
    const { x, y } = p256.Point.BASE.toAffine();
    const points = [
      [0n, 0n],
      [x, y ^ 1n],
      [P, y],
      [x, P],
      [x, P + 1n],
      [y, x],
    ] as const;
    for (const [a, b] of points) expect(verify(concat(number(a), number(b)), hash, signature)).toBe(false);
    expect(peekError()).toBe(0);
  });

  it("is not looked at when a length is wrong", () => {
    const bytes = (length: number) => new Uint8Array(length);
    expect(() => verify(bytes(65), bytes(32), bytes(64))).toThrow(RangeError);
    expect(() => verify(bytes(64), bytes(31), bytes(64))).toThrow(RangeError);
    expect(() => verify(bytes(64), bytes(32), bytes(63))).toThrow(RangeError);
  });
});

it("the pinned Node has the functions for it", () => {
  expect(verifiesNatively()).toBe(true);
});

it("native verification leaves OpenSSL as it was for node:crypto", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  expect(verifyP256Digest(new Uint8Array(64), new Uint8Array(32), new Uint8Array(64))).toBe(false);
  expect(sign("sha256", new Uint8Array(1), privateKey).length).toBeGreaterThan(60);
});
