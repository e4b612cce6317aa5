/** The algorithms that programs of others know and a policy must name: raw RSA, PKCS#1 v1.5, the plain modes of AES. */
import {
  constants,
  createDecipheriv,
  createPublicKey,
  privateDecrypt,
  publicDecrypt,
  publicEncrypt,
  randomBytes,
} from "node:crypto";
import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { sizeOf } from "../../../src/operations/key-types.ts";
import { loadKey } from "../../../src/vault/material/load.ts";
import { verifySignature } from "../../../src/vault/material/verify.ts";
import { keyOf } from "./keys.ts";

const RSA = ["rsa2048", "rsa3072", "rsa4096"] as const;

async function rsa(type: (typeof RSA)[number]) {
  const { secret, publicKey } = await keyOf(type);
  const spki = Buffer.from(publicKey ?? []);
  return {
    key: loadKey(type, secret),
    spki: new Uint8Array(spki),
    peer: createPublicKey({ key: spki, format: "der", type: "spki" }),
    pkcs8: secret.use((bytes) => Buffer.from(bytes)),
  };
}

describe.each(RSA)("%s", (type) => {
  const size = sizeOf(type);

  it("pads what it is given, as PKCS#1 v1.5 does, and nothing more", async () => {
    const { key, peer, spki } = await rsa(type);
    const spec = { algorithm: "rsa-pkcs1-any", digest: undefined, digested: false } as const;
    for (const length of [0, 1, 36, size - 11]) {
      const data = new Uint8Array(randomBytes(length));
      const signature = await key.sign(spec, data);
      expect(toHex(publicDecrypt({ key: peer, padding: constants.RSA_PKCS1_PADDING }, signature))).toBe(toHex(data));
      if (length > 0) expect(verifySignature(type, spki, spec, data, signature)).toBe(true);
      expect(verifySignature(type, spki, spec, new Uint8Array(randomBytes(20)), signature)).toBe(false);
    }
    expect(() => key.sign(spec, new Uint8Array(size - 10))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    expect(() => key.sign({ ...spec, digest: "sha256" }, new Uint8Array(3))).toThrow(
      expect.objectContaining({ code: "NOT_SUPPORTED" }),
    );
  });

  it("does RSASP1 and RSADP over as many bytes as the modulus has", async () => {
    const { key, peer, spki, pkcs8 } = await rsa(type);
    const data = new Uint8Array(randomBytes(size));
    data[0] = 0;
    const spec = { algorithm: "rsa-raw", digest: undefined, digested: false } as const;
    const signature = await key.sign(spec, data);
    expect(toHex(publicDecrypt({ key: peer, padding: constants.RSA_NO_PADDING }, signature))).toBe(toHex(data));
    expect(verifySignature(type, spki, spec, data, signature)).toBe(true);
    const ciphertext = key.encrypt({ cipher: "rsa-raw" }, data);
    const own = { key: pkcs8, format: "der" as const, type: "pkcs8" as const, padding: constants.RSA_NO_PADDING };
    expect(toHex(privateDecrypt(own, ciphertext))).toBe(toHex(data));
    expect(key.decrypt({ cipher: "rsa-raw" }, ciphertext).use(toHex)).toBe(toHex(data));
    for (const length of [0, size - 1, size + 1]) {
      expect(() => key.sign(spec, new Uint8Array(length))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
      expect(() => key.decrypt({ cipher: "rsa-raw" }, new Uint8Array(length))).toThrow(
        expect.objectContaining({ code: "MALFORMED" }),
      );
    }
  });

  it("decrypts PKCS#1 v1.5, and answers noise, not an error, to a wrong padding", async () => {
    const { key, peer } = await rsa(type);
    const spec = { cipher: "rsaes-pkcs1" } as const;
    const plaintext = new Uint8Array(randomBytes(48));
    const theirs = publicEncrypt({ key: peer, padding: constants.RSA_PKCS1_PADDING }, plaintext);
    expect(key.decrypt(spec, theirs).use(toHex)).toBe(toHex(plaintext));
    expect(key.decrypt(spec, key.encrypt(spec, plaintext)).use(toHex)).toBe(toHex(plaintext));
    const wrong = new Uint8Array(
      publicEncrypt({ key: peer, padding: constants.RSA_NO_PADDING }, new Uint8Array(size).fill(1)),
    );
    const noise = key.decrypt(spec, wrong).use(toHex);
    // The same each time, so that nobody tells it from a plain text by asking twice.
    expect(key.decrypt(spec, wrong).use(toHex)).toBe(noise);
  });
});

describe("aes256", () => {
  // SP 800-38A, appendix F: F.1.5 (ECB), F.2.5 (CBC), F.5.5 (CTR), each with AES-256.
  const key = loadKey(
    "aes256",
    new Secret(fromHex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")),
  );
  const plaintext = fromHex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" +
      "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
  );
  it.each([
    [
      "aes-ecb",
      undefined,
      "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
    ],
    [
      "aes-cbc",
      "000102030405060708090a0b0c0d0e0f",
      "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    ],
    [
      "aes-ctr",
      "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    ],
  ] as const)("%s is as SP 800-38A has it", (cipher, iv, ciphertext) => {
    const spec = { cipher, ...(iv && { nonce: fromHex(iv) }) };
    expect(toHex(key.encrypt(spec, plaintext))).toBe(ciphertext);
    expect(key.decrypt(spec, fromHex(ciphertext)).use(toHex)).toBe(toHex(plaintext));
  });

  it("pads CBC, and refuses a wrong padding", () => {
    const nonce = new Uint8Array(randomBytes(16));
    for (const length of [0, 1, 15, 16, 17]) {
      const data = new Uint8Array(randomBytes(length));
      const sealed = key.encrypt({ cipher: "aes-cbc-pad", nonce }, data);
      expect(sealed.length).toBe((Math.floor(length / 16) + 1) * 16);
      expect(key.decrypt({ cipher: "aes-cbc-pad", nonce }, sealed).use(toHex)).toBe(toHex(data));
    }
    const unpadded = key.encrypt({ cipher: "aes-cbc", nonce }, new Uint8Array(16));
    expect(() => key.decrypt({ cipher: "aes-cbc-pad", nonce }, unpadded)).toThrow(
      expect.objectContaining({ code: "MALFORMED" }),
    );
  });

  it("takes nonces, tags and blocks of the right length only", () => {
    const block = new Uint8Array(16);
    const wrong = [
      [{ cipher: "aes-cbc" }, block],
      [{ cipher: "aes-cbc", nonce: new Uint8Array(12) }, block],
      [{ cipher: "aes-cbc", nonce: block }, new Uint8Array(15)],
      [{ cipher: "aes-ecb", nonce: block }, block],
      [{ cipher: "aes-ecb" }, new Uint8Array(17)],
      [{ cipher: "aes-ctr" }, block],
      [{ cipher: "aes-gcm-iv" }, block],
      [{ cipher: "aes-gcm-iv", nonce: new Uint8Array(7) }, block],
      [{ cipher: "aes-gcm", tagLength: 12 }, block],
      [{ cipher: "aes-ctr", nonce: block, aad: block }, block],
    ] as const;
    for (const [spec, data] of wrong) {
      expect(() => key.encrypt(spec, data), JSON.stringify(spec)).toThrow(
        expect.objectContaining({ code: "MALFORMED" }),
      );
    }
  });

  it("does GCM with a nonce and a tag of the caller's", () => {
    for (const [ivBytes, tagLength] of [
      [12, 16],
      [8, 12],
      [64, 13],
    ] as const) {
      const nonce = new Uint8Array(randomBytes(ivBytes));
      const aad = new Uint8Array(randomBytes(5));
      const spec = { cipher: "aes-gcm-iv", nonce, aad, tagLength } as const;
      const sealed = key.encrypt(spec, plaintext);
      const secret = key.export().use((bytes) => Buffer.from(bytes));
      const peer = createDecipheriv("aes-256-gcm", secret, nonce, { authTagLength: tagLength });
      peer.setAAD(aad).setAuthTag(sealed.subarray(-tagLength));
      expect(toHex(Buffer.concat([peer.update(sealed.subarray(0, -tagLength)), peer.final()]))).toBe(toHex(plaintext));
      expect(key.decrypt(spec, sealed).use(toHex)).toBe(toHex(plaintext));
      sealed[3] = (sealed[3] ?? 0) ^ 1;
      expect(() => key.decrypt(spec, sealed)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    }
  });
});
