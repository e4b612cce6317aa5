/**
 * Published vectors. `vectors.json` is a part of: NIST CAVP (FIPS 186-3 SigVer of ECDSA, SigVer15 and SigVerPSS of RSA;
 * KAS ECC static unified, ZZ only; SP 800-38D GCM; SP 800-38F KW and KWP), RFC 4231, 5869, 7748 and 8032, secp256k1
 * signatures in CAVP's form from the cryptography project, and an OAEP vector with a label from BoringSSL.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { encodeDer, integerOf, sequenceOf, TAG } from "../../../src/bytes/asn1.ts";
import { concat, fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import type { CipherName, Digest, KeyType } from "../../../src/operations/key-types.ts";
import { spkiOf } from "../../../src/operations/public-keys.ts";
import { sealGcm } from "../../../src/vault/material/aes.ts";
import { openNativeEngine, openPortableEngine } from "../../../src/vault/material/engine.ts";
import { hkdf } from "../../../src/vault/material/hkdf.ts";
import { hmac } from "../../../src/vault/material/hmac.ts";
import { loadKey, loadKeyWith } from "../../../src/vault/material/load.ts";
import { parseMaterial } from "../../../src/vault/material/parse.ts";
import { type CurveType, ecPrivateKeyOf, pointPrivateKeyOf } from "../../../src/vault/material/pkcs8.ts";
import { verifyPortably, verifySignature } from "../../../src/vault/material/verify.ts";
import { digest as digestOf } from "./keys.ts";

interface Vectors {
  readonly ecdsa: readonly {
    type: KeyType;
    digest: Digest;
    message: string;
    point: string;
    signature: string;
    result: boolean;
  }[];
  readonly rsa: readonly {
    type: KeyType;
    algorithm: "rsa-pkcs1" | "rsa-pss";
    digest: Digest;
    n: string;
    e: string;
    message: string;
    signature: string;
    saltLength?: number;
    result: boolean;
  }[];
  readonly ecdh: readonly { type: CurveType; d: string; own: string; peer: string; z: string; result: string }[];
  readonly x25519: readonly { scalar: string; u: string; out: string }[];
  readonly ed25519: readonly { seed: string; point: string; message: string; signature: string }[];
  readonly gcm: readonly {
    key: string;
    nonce: string;
    plaintext: string;
    aad: string;
    ciphertext: string;
    tag: string;
    result: boolean;
  }[];
  /** Without a plain text it must not unwrap. */
  readonly wrap: readonly { cipher: CipherName; key: string; ciphertext: string; plaintext?: string }[];
  readonly hmac: readonly { digest: Digest; key: string; message: string; mac: string }[];
  readonly hkdf: readonly { key: string; salt: string; info: string; length: number; out: string }[];
  readonly oaep: { KEY: string; OAEPLabel: string; Input: string; Output: string };
}

const VECTORS = JSON.parse(readFileSync(join(import.meta.dirname, "vectors.json"), "utf8")) as Vectors;
const WAYS = [
  ["natively", openNativeEngine],
  ["through node:crypto", openPortableEngine],
] as const;

const secretOf = (bytes: Uint8Array) => new Secret(bytes);
const hexOf = (secret: Secret) => secret.use(toHex);

/** SubjectPublicKeyInfo of an RSA key. */
function rsaSpki(n: string, e: string): Uint8Array {
  const key = encodeDer(sequenceOf(integerOf(fromHex(n)), integerOf(fromHex(e))));
  return encodeDer(
    sequenceOf(
      { tag: TAG.sequence, content: [fromHex("06092a864886f70d0101010500")] },
      { tag: TAG.bitString, content: [Uint8Array.of(0), key] },
    ),
  );
}

describe("ECDSA as CAVP has it", () => {
  it.each(VECTORS.ecdsa)("$type with $digest: $result ($signature)", (vector) => {
    const { type, digest, result } = vector;
    const [spki, message, signature] = [
      spkiOf(type, fromHex(vector.point)),
      fromHex(vector.message),
      fromHex(vector.signature),
    ];
    const spec = { algorithm: "ecdsa", digest, digested: false } as const;
    expect(verifySignature(type, spki, spec, message, signature)).toBe(result);
    expect(verifySignature(type, spki, { ...spec, digested: true }, digestOf(digest, message), signature)).toBe(result);
    expect(verifyPortably(type, spki, spec, message, signature)).toBe(result);
  });

  it("verifies what RFC 6979, A.2.5 signed", () => {
    const point = fromHex(
      "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6" +
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
    );
    const signature = fromHex(
      "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716" +
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    );
    const spec = { algorithm: "ecdsa", digest: "sha256", digested: false } as const;
    const verify = (text: string) => verifySignature("p256", spkiOf("p256", point), spec, Buffer.from(text), signature);
    expect(verify("sample")).toBe(true);
    expect(verify("simple")).toBe(false);
  });
});

describe("RSA as CAVP has it", () => {
  it.each(VECTORS.rsa)("$type, $algorithm with $digest: $result", (vector) => {
    const { type, algorithm, digest, saltLength, result } = vector;
    const [spki, message, signature] = [
      rsaSpki(vector.n, vector.e),
      fromHex(vector.message),
      fromHex(vector.signature),
    ];
    const spec = { algorithm, digest, digested: false, ...(saltLength !== undefined && { saltLength }) };
    expect(verifySignature(type, spki, spec, message, signature)).toBe(result);
    expect(verifySignature(type, spki, { ...spec, digested: true }, digestOf(digest, message), signature)).toBe(result);
    expect(verifyPortably(type, spki, spec, message, signature)).toBe(result);
  });

  it("takes no public exponent below 65537, and no other size", () => {
    const { type, algorithm, digest, n, message, signature } = VECTORS.rsa.find(({ result }) => result)!;
    const spec = { algorithm, digest, digested: false };
    const verify = (as: KeyType, e: string) =>
      verifySignature(as, rsaSpki(n, e), spec, fromHex(message), fromHex(signature));
    expect(verify(type, "010001")).toBe(true);
    expect(verify(type, "03")).toBe(false);
    expect(verify(type, "010002")).toBe(false);
    expect(verify(type === "rsa2048" ? "rsa3072" : "rsa2048", "010001")).toBe(false);
  });
});

describe.each(WAYS)("%s", (_, open) => {
  it.each(VECTORS.ecdh)("ECDH with $type as CAVP has it: $result", (vector) => {
    const { type, result } = vector;
    const bad = result.startsWith("F");
    const made = parseMaterial(ecPrivateKeyOf(type, fromHex(vector.d), fromHex(vector.own)), type);
    const key = loadKeyWith(type, made.secret, open);
    const agree = () => hexOf(key.agree(spkiOf(type, fromHex(vector.peer))));
    if (bad) expect(agree).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    else expect(agree()).toBe(vector.z);
  });

  it.each(VECTORS.x25519)("X25519 as RFC 7748, 5.2 has it: $out", ({ scalar, u, out }) => {
    const key = loadKeyWith("x25519", secretOf(pointPrivateKeyOf("x25519", fromHex(scalar))), open);
    expect(hexOf(key.agree(spkiOf("x25519", fromHex(u))))).toBe(out);
  });

  it("refuses every X25519 point that makes the secret zero (RFC 7748, 6.1)", () => {
    const key = loadKeyWith("x25519", secretOf(pointPrivateKeyOf("x25519", fromHex(VECTORS.x25519[0]!.scalar))), open);
    const small = [
      "00".repeat(32),
      `01${"00".repeat(31)}`,
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      `ec${"ff".repeat(30)}7f`,
      `ed${"ff".repeat(30)}7f`,
      `ee${"ff".repeat(30)}7f`,
    ];
    for (const point of small) {
      expect(() => key.agree(spkiOf("x25519", fromHex(point)))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
    }
  });

  it.each(VECTORS.ed25519)("Ed25519 as RFC 8032, 7.1 has it: $signature", ({ seed, point, message, signature }) => {
    const key = loadKeyWith("ed25519", secretOf(pointPrivateKeyOf("ed25519", fromHex(seed))), open);
    const spec = { algorithm: "ed25519", digest: undefined, digested: false } as const;
    expect(toHex(key.sign(spec, fromHex(message)) as Uint8Array)).toBe(signature);
    const verify = open === openNativeEngine ? verifySignature : verifyPortably;
    expect(verify("ed25519", spkiOf("ed25519", fromHex(point)), spec, fromHex(message), fromHex(signature))).toBe(true);
    const changed = concat(fromHex(message), Uint8Array.of(0));
    expect(verify("ed25519", spkiOf("ed25519", fromHex(point)), spec, changed, fromHex(signature))).toBe(false);
  });

  it("RSA-OAEP with SHA-512 and a label as BoringSSL has it", () => {
    const { KEY, OAEPLabel, Input, Output } = VECTORS.oaep;
    const key = loadKeyWith("rsa2048", parseMaterial(fromHex(KEY)).secret, open);
    const spec = { cipher: "rsa-oaep", digest: "sha512" } as const;
    const decrypted = key.decrypt({ ...spec, label: fromHex(OAEPLabel) }, fromHex(Input));
    expect(`"${decrypted.use((bytes) => Buffer.from(bytes).toString())}"`).toBe(Output);
    expect(() => key.decrypt(spec, fromHex(Input))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  });
});

it.each(VECTORS.gcm)("AES-256-GCM as SP 800-38D's CAVP has it: $tag $result", (vector) => {
  const [nonce, aad, plaintext] = [fromHex(vector.nonce), fromHex(vector.aad), fromHex(vector.plaintext)];
  const sealed = fromHex(vector.ciphertext + vector.tag);
  const key = loadKey("aes256", secretOf(fromHex(vector.key)));
  const open = () => hexOf(key.decrypt({ cipher: "aes-gcm", aad, nonce }, sealed));
  if (vector.result) {
    expect(toHex(sealGcm(fromHex(vector.key), nonce, plaintext, aad))).toBe(toHex(sealed));
    expect(open()).toBe(vector.plaintext);
    expect(hexOf(key.decrypt({ cipher: "aes-gcm", aad }, concat(nonce, sealed)))).toBe(vector.plaintext);
  } else expect(open).toThrow(expect.objectContaining({ code: "MALFORMED" }));
});

describe("key wrap", () => {
  it.each(VECTORS.wrap)(
    "$cipher as SP 800-38F's CAVP has it: $ciphertext",
    ({ cipher, key, ciphertext, plaintext }) => {
      const wrapping = loadKey("aes256", secretOf(fromHex(key)));
      const unwrap = () => hexOf(wrapping.decrypt({ cipher }, fromHex(ciphertext)));
      if (plaintext === undefined) expect(unwrap).toThrow(expect.objectContaining({ code: "MALFORMED" }));
      else {
        expect(unwrap()).toBe(plaintext);
        expect(toHex(wrapping.encrypt({ cipher }, fromHex(plaintext)))).toBe(ciphertext);
      }
    },
  );

  it("is what RFC 3394, 4.6 has for 256 bits of key and data", () => {
    const kek = Uint8Array.from({ length: 32 }, (_, index) => index);
    const data = fromHex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
    const wrapped = loadKey("aes256", secretOf(kek)).encrypt({ cipher: "aes-kw" }, data);
    expect(toHex(wrapped)).toBe("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
  });
});

it.each(VECTORS.hmac)("HMAC with $digest as RFC 4231 has it: $mac", ({ digest, key, message, mac }) => {
  expect(toHex(hmac(digest, fromHex(key), fromHex(message)))).toBe(mac);
});

it.each(VECTORS.hkdf)("HKDF as RFC 5869, A has it: $out", ({ key, salt, info, length, out }) => {
  const spec = { digest: "sha256", salt: fromHex(salt), info: fromHex(info), length } as const;
  expect(hexOf(hkdf(fromHex(key), spec))).toBe(out);
});
