import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { toHex } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { canDo, DIGESTS, KEY_TYPE_NAMES } from "../../../src/operations/key-types.ts";
import { openNativeEngine, openPortableEngine } from "../../../src/vault/material/engine.ts";
import { loadKey, loadKeyWith } from "../../../src/vault/material/load.ts";
import { verifyPortably, verifySignature } from "../../../src/vault/material/verify.ts";
import { ASYMMETRIC, keyOf, SIGNING, signSpecsOf } from "./keys.ts";

const refusal = (code: string) => expect.objectContaining({ name: "ThornkeyError", code });
const HKDF = { digest: "sha256", salt: new Uint8Array(0), info: new Uint8Array(0), length: 32 } as const;

describe.each(KEY_TYPE_NAMES)("a loaded key of type %s", (type) => {
  it("does what its type can do, and refuses the rest", async () => {
    const { secret, publicKey } = await keyOf(type);
    const key = loadKey(type, secret);
    const peer = publicKey ?? new Uint8Array(0);
    const attempts = [
      [canDo(type, "ecdh"), () => key.agree(peer)],
      [canDo(type, "hmac"), () => key.mac("sha256", new Uint8Array(1))],
      [canDo(type, "hkdf"), () => key.derive({ ...HKDF, ...(canDo(type, "ecdh") && { peer }) })],
      [canDo(type, "rsa-oaep"), () => key.encrypt({ cipher: "rsa-oaep" }, new Uint8Array(1))],
      [canDo(type, "aes-gcm"), () => key.encrypt({ cipher: "aes-gcm" }, new Uint8Array(1))],
      [canDo(type, "aes-kwp"), () => key.encrypt({ cipher: "aes-kwp" }, new Uint8Array(1))],
    ] as const;
    for (const [can, act] of attempts) {
      if (can) expect(act()).toBeDefined();
      else expect(act).toThrow(refusal("NOT_SUPPORTED"));
    }
  });

  it("leaves the secret it was made from alone, and gives out a copy of it", async () => {
    const { secret } = await keyOf(type);
    const before = secret.use(toHex);
    const key = loadKey(type, secret);
    const copy = key.export();
    expect(copy.use(toHex)).toBe(before);
    copy.destroy();
    expect(key.export().use(toHex)).toBe(before);
    key.close();
    expect(secret.use(toHex)).toBe(before);
  });

  it("does nothing any more once it is closed", async () => {
    const { secret, publicKey } = await keyOf(type);
    const key = loadKey(type, secret);
    key.close();
    key.close();
    const attempts = [
      () => key.export(),
      ...signSpecsOf(type).map((spec) => () => key.sign(spec, new Uint8Array(1))),
      ...(canDo(type, "ecdh") ? [() => key.agree(publicKey!)] : []),
      ...(canDo(type, "rsa-oaep") ? [() => key.encrypt({ cipher: "rsa-oaep" }, new Uint8Array(1))] : []),
      ...(canDo(type, "aes-gcm") ? [() => key.encrypt({ cipher: "aes-gcm" }, new Uint8Array(1))] : []),
      ...(canDo(type, "hmac") ? [() => key.mac("sha256", new Uint8Array(1)), () => key.derive(HKDF)] : []),
    ];
    for (const act of attempts) expect(act).toThrow(refusal("FAILED"));
  });
});

it("a key is not loaded as another type", async () => {
  for (const type of ASYMMETRIC) {
    for (const other of KEY_TYPE_NAMES) {
      const { secret } = await keyOf(other);
      if (other !== type) expect(() => loadKey(type, secret)).toThrow(refusal("MALFORMED"));
    }
  }
});

it("RSA that takes long is signed in the background, many at once, and a key closed meanwhile finishes", async () => {
  const { secret, publicKey } = await keyOf("rsa3072");
  const key = loadKey("rsa3072", secret);
  const spec = { algorithm: "rsa-pkcs1", digest: "sha256", digested: true } as const;
  const digests = Array.from({ length: 100 }, () => new Uint8Array(randomBytes(32)));
  const signing = digests.map(async (digest) => key.sign(spec, digest, true));
  expect(key.sign(spec, digests[0]!, true)).toBeInstanceOf(Promise);
  key.close();
  for (const [index, signature] of (await Promise.all(signing)).entries()) {
    expect(verifySignature("rsa3072", publicKey!, spec, digests[index]!, signature)).toBe(true);
  }
});

it("more settings than are kept ready are signed with all the same", async () => {
  const { secret, publicKey } = await keyOf("rsa2048");
  const key = loadKey("rsa2048", secret);
  for (let round = 0; round < 2; round++) {
    for (let saltLength = 0; saltLength < 20; saltLength++) {
      const spec = { algorithm: "rsa-pss", digest: "sha256", digested: false, saltLength } as const;
      const signature = await key.sign(spec, Uint8Array.of(saltLength));
      expect(verifySignature("rsa2048", publicKey!, spec, Uint8Array.of(saltLength), signature)).toBe(true);
    }
  }
});

it("more public keys than are kept ready are verified with all the same", async () => {
  const { generateMaterial } = await import("../../../src/vault/material/generate.ts");
  const spec = { algorithm: "ecdsa", digest: "sha256", digested: false } as const;
  const keys = await Promise.all(Array.from({ length: 150 }, () => generateMaterial("p256")));
  const data = new Uint8Array(5);
  const signatures = await Promise.all(keys.map(({ secret }) => loadKey("p256", secret).sign(spec, data)));
  for (let round = 0; round < 2; round++) {
    for (const [index, { publicKey }] of keys.entries()) {
      expect(verifySignature("p256", publicKey!, spec, data, signatures[index]!)).toBe(true);
      expect(verifySignature("p256", publicKey!, spec, data, signatures[(index + 1) % keys.length]!)).toBe(false);
    }
  }
});

describe("where OpenSSL's own functions are hidden", () => {
  it.each(SIGNING)("%s signs messages, and says that it signs no digest", async (type) => {
    const { secret, publicKey } = await keyOf(type);
    const key = loadKeyWith(type, secret, openPortableEngine);
    for (const spec of signSpecsOf(type)) {
      const signature = await key.sign(spec, new Uint8Array(9));
      expect(verifySignature(type, publicKey!, spec, new Uint8Array(9), signature)).toBe(true);
      if (spec.digest === undefined) continue;
      const given = [{ ...spec, digested: true }, new Uint8Array(DIGESTS[spec.digest])] as const;
      expect(() => key.sign(...given)).toThrow(refusal("NOT_SUPPORTED"));
      expect(() => verifyPortably(type, publicKey!, ...given, signature)).toThrow(refusal("NOT_SUPPORTED"));
    }
  });

  it("both ways agree and decrypt alike", async () => {
    for (const type of ASYMMETRIC) {
      const { secret, publicKey } = await keyOf(type);
      const [native, portable] = [openNativeEngine, openPortableEngine].map((open) => loadKeyWith(type, secret, open));
      if (canDo(type, "ecdh")) {
        expect(native!.agree(publicKey!).use(toHex)).toBe(portable!.agree(publicKey!).use(toHex));
      }
      if (!canDo(type, "rsa-oaep")) continue;
      const spec = { cipher: "rsa-oaep", digest: "sha384", label: new Uint8Array(5) } as const;
      const data = new Uint8Array(20).fill(5);
      expect(portable!.decrypt(spec, native!.encrypt(spec, data)).use(toHex)).toBe(toHex(data));
      expect(native!.decrypt(spec, portable!.encrypt(spec, data)).use(toHex)).toBe(toHex(data));
    }
  });
});

it("an hmac256 key derives without a peer, the same every time, another thing for another info", async () => {
  const key = loadKey("hmac256", (await keyOf("hmac256")).secret);
  const derived = key.derive(HKDF).use(toHex);
  expect(key.derive(HKDF).use(toHex)).toBe(derived);
  expect(key.derive({ ...HKDF, info: Uint8Array.of(1) }).use(toHex)).not.toBe(derived);
  for (const length of [0, -1, 0.5, 255 * 32 + 1])
    expect(() => key.derive({ ...HKDF, length })).toThrow(refusal("MALFORMED"));
  expect(() => key.derive({ ...HKDF, peer: new Uint8Array(91) })).toThrow(refusal("MALFORMED"));
});

it("a symmetric key of another length is not loaded", () => {
  for (const type of ["aes256", "hmac256"] as const) {
    expect(() => loadKey(type, new Secret(new Uint8Array(31)))).toThrow(refusal("MALFORMED"));
  }
});
