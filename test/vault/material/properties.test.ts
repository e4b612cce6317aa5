import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import {
  CIPHERS,
  canDo,
  factsOf,
  KEY_TYPE_NAMES,
  signatureLengthOf,
  sizeOf,
} from "../../../src/operations/key-types.ts";
import { generateMaterial } from "../../../src/vault/material/generate.ts";
import { loadKey } from "../../../src/vault/material/load.ts";
import type { LoadedKey } from "../../../src/vault/material/material.ts";
import { parseMaterial } from "../../../src/vault/material/parse.ts";
import { maximumPlaintext } from "../../../src/vault/material/settings.ts";
import { verifyPortably, verifySignature } from "../../../src/vault/material/verify.ts";
import { ASYMMETRIC, DIGEST_NAMES, digest, keyOf, SIGNING, signSpecsOf } from "./keys.ts";

const few = { numRuns: 6 };
const message = fc.uint8Array({ maxLength: 300 });
const changed = (bytes: Uint8Array, bit: number) => {
  const copy = new Uint8Array(bytes);
  const index = (bit >> 3) % copy.length;
  copy[index] = (copy[index] ?? 0) ^ (1 << (bit & 7));
  return copy;
};

/** Nothing but an error of the house may come out, with one of these codes. */
function outcome(act: () => unknown): string {
  try {
    return String(act());
  } catch (error) {
    if (!(error instanceof ThornkeyError)) throw error;
    return error.code;
  }
}

describe.each(SIGNING)("a signature by %s", (type) => {
  it.each(signSpecsOf(type))(
    "with $algorithm $digest is right, and wrong after any change of one bit",
    async (spec) => {
      const { secret, publicKey } = await keyOf(type);
      const key = loadKey(type, secret);
      await fc.assert(
        fc.asyncProperty(message, fc.nat(), async (data, bit) => {
          const signature = await key.sign(spec, data);
          expect(signature.length).toBe(signatureLengthOf(type));
          expect(verifySignature(type, publicKey!, spec, data, signature)).toBe(true);
          expect(verifyPortably(type, publicKey!, spec, data, signature)).toBe(true);
          expect(verifySignature(type, publicKey!, spec, data, changed(signature, bit))).toBe(false);
          expect(verifySignature(type, changed(publicKey!, bit), spec, data, signature)).toBe(false);
          if (data.length > 0)
            expect(verifySignature(type, publicKey!, spec, changed(data, bit), signature)).toBe(false);
          if (spec.digest === undefined) return;
          const given = { ...spec, digested: true };
          const hash = digest(spec.digest, data);
          expect(verifySignature(type, publicKey!, given, hash, signature)).toBe(true);
          expect(verifySignature(type, publicKey!, spec, data, await key.sign(given, hash))).toBe(true);
        }),
        few,
      );
      key.close();
    },
  );

  it("is by no other algorithm, and over no digest of another length", async () => {
    const { secret } = await keyOf(type);
    const key = loadKey(type, secret);
    for (const other of SIGNING) {
      for (const spec of signSpecsOf(other)) {
        if (canDo(type, spec.algorithm)) continue;
        expect(() => key.sign(spec, new Uint8Array(32))).toThrow(expect.objectContaining({ code: "NOT_SUPPORTED" }));
      }
    }
    for (const spec of signSpecsOf(type)) {
      const code = spec.digest === undefined ? "NOT_SUPPORTED" : "MALFORMED";
      for (const length of [0, 19, 31, 33, 65]) {
        const sign = () => key.sign({ ...spec, digested: true }, new Uint8Array(length));
        expect(sign).toThrow(expect.objectContaining({ code }));
      }
    }
    key.close();
  });
});

it.each(["rsa2048", "rsa3072"] as const)("PSS salts of %s are as long as asked, up to what fits", async (type) => {
  const { secret, publicKey } = await keyOf(type);
  const key = loadKey(type, secret);
  const spec = { algorithm: "rsa-pss", digest: "sha256", digested: false } as const;
  const most = sizeOf(type) - 34;
  for (const saltLength of [0, 20, 32, most]) {
    const signature = await key.sign({ ...spec, saltLength }, new Uint8Array(3));
    expect(verifySignature(type, publicKey!, { ...spec, saltLength }, new Uint8Array(3), signature)).toBe(true);
    expect(verifySignature(type, publicKey!, spec, new Uint8Array(3), signature)).toBe(saltLength === 32);
  }
  for (const saltLength of [-1, 0.5, most + 1, Number.NaN]) {
    expect(() => key.sign({ ...spec, saltLength }, new Uint8Array(3))).toThrow(ThornkeyError);
  }
});

describe.each(KEY_TYPE_NAMES.filter((type) => canDo(type, "ecdh")))("an agreement by %s", (type) => {
  it("is the same on both sides, and so is what is derived from it", async () => {
    const [a, b] = [await keyOf(type), await generateMaterial(type)];
    const [keyA, keyB] = [loadKey(type, a.secret), loadKey(type, b.secret)];
    const shared = keyA.agree(b.publicKey!).use(toHex);
    expect(shared.length / 2).toBe(sizeOf(type));
    expect(keyB.agree(a.publicKey!).use(toHex)).toBe(shared);
    const spec = { digest: "sha384", salt: new Uint8Array(3), info: new Uint8Array(4), length: 32 } as const;
    const derived = keyA.derive({ ...spec, peer: b.publicKey! }).use(toHex);
    expect(keyB.derive({ ...spec, peer: a.publicKey! }).use(toHex)).toBe(derived);
    expect(derived).not.toBe(shared);
    expect(() => keyA.derive(spec)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  });

  it("with bytes that are no public key, or a changed one, is an error or another secret", async () => {
    const { secret, publicKey } = await keyOf(type);
    const key = loadKey(type, secret);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.nat(2000).map((bit) => changed(publicKey!, bit)),
        ),
        (peer) => {
          expect(["MALFORMED", "[secret]"]).toContain(outcome(() => key.agree(peer)));
        },
      ),
      { numRuns: 100 },
    );
    for (const other of ASYMMETRIC) {
      if (other === type) continue;
      const peer = (await keyOf(other)).publicKey!;
      expect(() => key.agree(peer)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    }
  });
});

describe("encryption", () => {
  it.each(["aes-gcm", "aes-kw", "aes-kwp"] as const)("%s comes back, and never after a change", async (cipher) => {
    const key = loadKey("aes256", (await keyOf("aes256")).secret);
    const step = cipher === "aes-kw" ? 8 : 1;
    const data = fc.nat(40).chain((n) => {
      const length = cipher === "aes-gcm" ? n : cipher === "aes-kw" ? (n + 2) * step : n + 1;
      return fc.uint8Array({ minLength: length, maxLength: length });
    });
    fc.assert(
      fc.property(data, fc.nat(), (plaintext, bit) => {
        const ciphertext = key.encrypt({ cipher }, plaintext);
        expect(key.decrypt({ cipher }, ciphertext).use(toHex)).toBe(toHex(plaintext));
        expect(outcome(() => key.decrypt({ cipher }, changed(ciphertext, bit)))).toBe("MALFORMED");
      }),
      { numRuns: 60 },
    );
    if (cipher !== "aes-gcm") return;
    const twice = [1, 2].map(() => toHex(key.encrypt({ cipher }, new Uint8Array(1)).subarray(0, 12)));
    expect(twice[0]).not.toBe(twice[1]);
    expect(outcome(() => key.encrypt({ cipher, nonce: new Uint8Array(12) }, new Uint8Array(1)))).toBe("MALFORMED");
  });

  it.each(["rsa2048", "rsa3072", "rsa4096"] as const)(
    "OAEP of %s comes back with each digest and label",
    async (type) => {
      const key = loadKey(type, (await keyOf(type)).secret);
      for (const name of DIGEST_NAMES) {
        const spec = { cipher: "rsa-oaep", digest: name, label: Uint8Array.of(0, 1, 255) } as const;
        const longest = new Uint8Array(maximumPlaintext(type, { cipher: "rsa-oaep", digest: name })).fill(7);
        const ciphertext = key.encrypt(spec, longest);
        expect(key.decrypt(spec, ciphertext).use(toHex)).toBe(toHex(longest));
        expect(outcome(() => key.decrypt({ ...spec, label: new Uint8Array(0) }, ciphertext))).toBe("MALFORMED");
        expect(outcome(() => key.encrypt(spec, new Uint8Array(longest.length + 1)))).toBe("MALFORMED");
      }
      expect(key.decrypt({ cipher: "rsa-oaep" }, key.encrypt({ cipher: "rsa-oaep" }, new Uint8Array(0))).length).toBe(
        0,
      );
    },
  );
});

describe("garbage", () => {
  const garbage = fc.uint8Array({ maxLength: 600 });

  it("is no private key", () => {
    const starts = ["", "0", "-----BEGIN PRIVATE KEY-----\n", '{"kty":"EC","crv":"P-256","d":"', "openssh-key-v1\0"];
    const text = fc
      .tuple(fc.constantFrom(...starts), garbage)
      .map(([start, rest]) => Buffer.concat([Buffer.from(start), rest]));
    fc.assert(
      fc.property(text, fc.option(fc.constantFrom(...KEY_TYPE_NAMES), { nil: undefined }), (bytes, type) => {
        if (bytes.length === 32) return;
        expect(["MALFORMED", "NOT_SUPPORTED"]).toContain(outcome(() => parseMaterial(bytes, type)));
      }),
      { numRuns: 2000 },
    );
  });

  it("a real private key with a changed bit is refused or still one whose parts fit", async () => {
    for (const type of ["p256", "p521", "rsa2048", "ed25519", "x25519"] as const) {
      const { secret } = await keyOf(type);
      const whole = secret.use((bytes) => new Uint8Array(bytes));
      fc.assert(
        fc.property(fc.nat(whole.length * 8), (bit) => {
          expect(["MALFORMED", "NOT_SUPPORTED", "[object Object]"]).toContain(
            outcome(() => parseMaterial(changed(whole, bit))),
          );
        }),
        { numRuns: 60 },
      );
    }
  });

  it("is no key to load", () => {
    fc.assert(
      fc.property(garbage, fc.constantFrom(...KEY_TYPE_NAMES), (bytes, type) => {
        const symmetric = factsOf(type).family === "symmetric";
        const expected = symmetric && bytes.length === 32 ? "[object Object]" : "MALFORMED";
        expect(outcome(() => loadKey(type, new Secret(bytes)))).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  it("does not verify", async () => {
    for (const type of SIGNING) {
      const { publicKey } = await keyOf(type);
      for (const spec of signSpecsOf(type)) {
        fc.assert(
          fc.property(garbage, garbage, fc.boolean(), fc.boolean(), (key, signature, digested, whole) => {
            const padded = new Uint8Array(signatureLengthOf(type));
            padded.set(signature.subarray(0, padded.length));
            for (const spki of [key, publicKey!]) {
              const how = { ...spec, digested };
              expect(
                verifySignature(type, spki, how, digested ? new Uint8Array(32) : key, whole ? padded : signature),
              ).toBe(false);
            }
          }),
          { numRuns: 40 },
        );
      }
    }
  });

  it("does not decrypt", async () => {
    for (const type of KEY_TYPE_NAMES) {
      const key: LoadedKey = loadKey(type, (await keyOf(type)).secret);
      fc.assert(
        fc.property(garbage, fc.constantFrom(...CIPHERS), (ciphertext, cipher) => {
          if (cipher === "aes-ecb" && ciphertext.length % 16 === 0) return; // anything is a cipher text of that
          const expected = canDo(type, cipher) ? "MALFORMED" : "NOT_SUPPORTED";
          expect(outcome(() => key.decrypt({ cipher }, ciphertext))).toBe(expected);
        }),
        { numRuns: 60 },
      );
    }
  });
});
