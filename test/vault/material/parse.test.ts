import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeDer, sequenceOf, TAG } from "../../../src/bytes/asn1.ts";
import { fromHex, toHex } from "../../../src/bytes/bytes.ts";
import { factsOf, type KeyType } from "../../../src/operations/key-types.ts";
import type { NewMaterial } from "../../../src/vault/material/material.ts";
import { parseMaterial } from "../../../src/vault/material/parse.ts";
import { pkcs8Parts, rsaNumbersOf, rsaPrivateKeyOf } from "../../../src/vault/material/pkcs8.ts";
import { ASYMMETRIC, keyOf } from "./keys.ts";

const asObject = ({ secret }: NewMaterial): KeyObject =>
  secret.use((der) => createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" }));
const hexOf = ({ secret }: NewMaterial) => secret.use(toHex);
const jwkOf = (material: NewMaterial) => asObject(material).export({ format: "jwk" });
const asBytes = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const refusal = (code: string) => expect.objectContaining({ name: "ThornkeyError", code });

describe.each(ASYMMETRIC)("a key of type %s", (type) => {
  const family = factsOf(type).family;

  it("is taken in from each form it comes in, always as the same PKCS#8, and the input stays as it was", async () => {
    const material = await keyOf(type);
    const key = asObject(material);
    const forms: (string | Buffer)[] = [
      key.export({ format: "der", type: "pkcs8" }),
      key.export({ format: "pem", type: "pkcs8" }),
      `Bag Attributes\n    friendlyName: one\n${key.export({ format: "pem", type: "pkcs8" })}\n`,
      JSON.stringify(key.export({ format: "jwk" })),
      JSON.stringify({ ...key.export({ format: "jwk" }), kid: "1", key_ops: ["sign"], ext: true, nbf: 17 }, null, 2),
    ];
    if (family === "ec") {
      forms.push(key.export({ format: "der", type: "sec1" }), key.export({ format: "pem", type: "sec1" }));
      forms.push(`-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${forms.at(-1)}`);
    }
    if (family === "rsa") {
      forms.push(key.export({ format: "der", type: "pkcs1" }), key.export({ format: "pem", type: "pkcs1" }));
    }
    for (const form of forms) {
      const input = Buffer.from(form);
      const parsed = parseMaterial(input, type);
      expect(parsed.type).toBe(type);
      expect(hexOf(parsed)).toBe(hexOf(material));
      expect(toHex(parsed.publicKey!)).toBe(toHex(material.publicKey!));
      expect(input.equals(Buffer.from(form))).toBe(true);
      expect(parseMaterial(input).type).toBe(type);
    }
  });

  it("is not taken in as another type, or with something after it", async () => {
    const der = (await keyOf(type)).secret.use((bytes) => new Uint8Array(bytes));
    for (const other of ASYMMETRIC) {
      if (other !== type) expect(() => parseMaterial(der, other)).toThrow(refusal("MALFORMED"));
    }
    expect(() => parseMaterial(der, "aes256")).toThrow(refusal("MALFORMED"));
    expect(() => parseMaterial(Buffer.concat([der, Buffer.of(0)]))).toThrow(refusal("MALFORMED"));
    expect(() => parseMaterial(der.subarray(0, -1))).toThrow(refusal("MALFORMED"));
  });

  it("is not taken in with the public part of another", async () => {
    const curve = factsOf(type).curve ?? "";
    const mine = jwkOf(await keyOf(type));
    const other =
      family === "rsa"
        ? generateKeyPairSync("rsa", { modulusLength: factsOf(type).bits }).privateKey
        : family === "ec"
          ? generateKeyPairSync("ec", { namedCurve: curve }).privateKey
          : generateKeyPairSync(type as "ed25519").privateKey;
    const theirs = other.export({ format: "jwk" });
    const mixed =
      family === "rsa" ? { ...mine, n: theirs.n } : { ...mine, x: theirs.x, ...(theirs.y && { y: theirs.y }) };
    expect(() => parseMaterial(asBytes(mixed))).toThrow(refusal("MALFORMED"));
  });
});

describe("RSA", () => {
  it("is not taken in with a wrong number, even one that OpenSSL signs with all the same", async () => {
    const { secret } = await keyOf("rsa2048");
    const numbers = secret.use((der) => structuredClone(rsaNumbersOf(pkcs8Parts(der).key)));
    expect(parseMaterial(rsaPrivateKeyOf(numbers)).type).toBe("rsa2048");
    for (const name of ["d", "p", "q", "dp", "dq", "qi"] as const) {
      const wrong = new Uint8Array(numbers[name]);
      wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 2;
      expect(() => parseMaterial(rsaPrivateKeyOf({ ...numbers, [name]: wrong }))).toThrow(refusal("MALFORMED"));
    }
  });

  it.each([
    ["1024 bits", { modulusLength: 1024 }],
    ["2056 bits", { modulusLength: 2056 }],
    ["the exponent 3", { modulusLength: 2048, publicExponent: 3 }],
  ] as const)("is not taken in with %s", (_, options) => {
    const { privateKey } = generateKeyPairSync("rsa", options);
    expect(() => parseMaterial(privateKey.export({ format: "der", type: "pkcs8" }))).toThrow(refusal("NOT_SUPPORTED"));
  });
});

describe("what is not ours", () => {
  it("is refused by what it is", () => {
    const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const locked = { cipher: "aes-256-cbc", passphrase: "x" } as const;
    const cases: readonly [string | Buffer, string][] = [
      [generateKeyPairSync("ed448").privateKey.export({ format: "pem", type: "pkcs8" }), "NOT_SUPPORTED"],
      [
        generateKeyPairSync("ec", { namedCurve: "secp224r1" }).privateKey.export({ format: "der", type: "sec1" }),
        "NOT_SUPPORTED",
      ],
      [
        generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).privateKey.export({ format: "der", type: "pkcs8" }),
        "NOT_SUPPORTED",
      ],
      [p256.privateKey.export({ format: "pem", type: "pkcs8", ...locked }), "NOT_SUPPORTED"],
      [p256.privateKey.export({ format: "der", type: "pkcs8", ...locked }), "NOT_SUPPORTED"],
      [p256.privateKey.export({ format: "pem", type: "sec1", ...locked }), "NOT_SUPPORTED"],
      [p256.publicKey.export({ format: "pem", type: "spki" }), "MALFORMED"],
      [p256.publicKey.export({ format: "der", type: "spki" }), "MALFORMED"],
      [JSON.stringify(p256.publicKey.export({ format: "jwk" })), "MALFORMED"],
      ["", "MALFORMED"],
      ["-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----", "MALFORMED"],
      [Buffer.alloc(16_385), "MALFORMED"],
    ];
    for (const [bytes, code] of cases) expect(() => parseMaterial(Buffer.from(bytes))).toThrow(refusal(code));
  });

  it("an EC key of 0 or of the order of the group is refused", async () => {
    const { publicKey } = await keyOf("p256");
    const point = publicKey!.subarray(-64);
    const order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    for (const d of ["00".repeat(32), order]) {
      const jwk = { kty: "EC", crv: "P-256", d: Buffer.from(fromHex(d)).toString("base64url") };
      const [x, y] = [point.subarray(0, 32), point.subarray(32)].map((part) => Buffer.from(part).toString("base64url"));
      expect(() => parseMaterial(asBytes({ ...jwk, x, y }))).toThrow(refusal("MALFORMED"));
    }
  });

  it("a sentence never shows the input", () => {
    const marker = "c2VjcmV0bWFya2Vy";
    const cases = [`-----BEGIN ${marker}-----`, `{"${marker}":"${marker}"}`, `{"kty":"oct","k":"${marker}"}`, marker];
    for (const text of cases) {
      try {
        parseMaterial(Buffer.from(text));
        expect.unreachable();
      } catch (error) {
        const { message, hint, cause } = error as { message: string; hint?: string; cause?: unknown };
        expect(`${message} ${hint}`).not.toContain(marker);
        expect(cause).toBeUndefined();
      }
    }
  });
});

it("an Ed25519 or X25519 key with its public part beside it (RFC 5958) is taken in if they belong together", async () => {
  for (const type of ["ed25519", "x25519"] as const) {
    const material = await keyOf(type);
    const { algorithm, key } = material.secret.use((der) => structuredClone(pkcs8Parts(der)));
    const withPublic = (point: Uint8Array) =>
      encodeDer(
        sequenceOf(
          { tag: TAG.integer, content: [Uint8Array.of(1)] },
          { tag: TAG.sequence, content: [algorithm] },
          { tag: TAG.octetString, content: [key] },
          { tag: TAG.primitive1, content: [Uint8Array.of(0), point] },
        ),
      );
    const point = material.publicKey!.subarray(-32);
    expect(hexOf(parseMaterial(withPublic(point)))).toBe(hexOf(material));
    expect(() => parseMaterial(withPublic(point.map((byte) => byte ^ 1)))).toThrow(refusal("MALFORMED"));
  }
});

describe("a symmetric key", () => {
  const raw = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);
  const k = Buffer.from(raw).toString("base64url");

  it("is its 32 bytes, when the type is said", () => {
    for (const type of ["aes256", "hmac256"] as const) {
      expect(parseMaterial(raw, type)).toMatchObject({ type, publicKey: undefined });
      expect(hexOf(parseMaterial(raw, type))).toBe(toHex(raw));
      for (const length of [0, 16, 31, 33, 64]) {
        expect(() => parseMaterial(new Uint8Array(length), type)).toThrow(refusal("MALFORMED"));
      }
    }
    expect(() => parseMaterial(raw)).toThrow(refusal("MALFORMED"));
  });

  it("is a JWK that says what it is for, or with a type", () => {
    const read = (jwk: object, type?: KeyType) => parseMaterial(asBytes(jwk), type);
    expect(read({ kty: "oct", k, alg: "A256GCM", key_ops: ["encrypt", "decrypt"], ext: true })).toMatchObject({
      type: "aes256",
    });
    expect(read({ kty: "oct", k, alg: "HS256" })).toMatchObject({ type: "hmac256" });
    expect(hexOf(read({ kty: "oct", k }, "hmac256"))).toBe(toHex(raw));
    expect(() => read({ kty: "oct", k })).toThrow(refusal("MALFORMED"));
    expect(() => read({ kty: "oct", k, alg: "HS256" }, "aes256")).toThrow(refusal("MALFORMED"));
    expect(() => read({ kty: "oct", k: k.slice(1) }, "aes256")).toThrow(refusal("MALFORMED"));
    expect(() => read({ kty: "oct", k }, "p256")).toThrow(refusal("MALFORMED"));
  });

  it("is no JWK that says something twice, or that is not JSON", () => {
    for (const text of [
      `{"kty":"oct","k":"${k}","k":"${k}"}`,
      `{"kty":"oct","k":"${k}"} x`,
      `{"kty":"oct","k":"${k}",}`,
      `{"kty":"oct","k":"${k}"`,
      `{"kty":"oct" "k":"${k}"}`,
      `{"kty":"oct","k":"${k}","x":{"y":1}}`,
      `{"kty":"oct","k":"\\u0041"}`,
    ]) {
      expect(() => parseMaterial(Buffer.from(text), "aes256")).toThrow(refusal("MALFORMED"));
    }
  });
});

describe.skipIf(spawnSync("ssh-keygen", ["-?"]).error !== undefined)("a key that ssh-keygen made", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "thornkey-ssh-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

  const make = (name: string, ...options: string[]) => {
    const file = join(directory, name);
    execFileSync("ssh-keygen", ["-q", "-C", "somebody@somewhere", "-f", file, ...options], { timeout: 60_000 });
    return file;
  };

  it.each([
    ["ed25519", ["-t", "ed25519"]],
    ["p256", ["-t", "ecdsa", "-b", "256"]],
    ["p384", ["-t", "ecdsa", "-b", "384"]],
    ["p521", ["-t", "ecdsa", "-b", "521"]],
    ["rsa2048", ["-t", "rsa", "-b", "2048"]],
  ] as const)("is taken in: %s", (type, options) => {
    const file = make(type, "-N", "", ...options);
    const parsed = parseMaterial(readFileSync(file));
    expect(parsed.type).toBe(type);
    if (type === "ed25519") {
      const blob = Buffer.from(readFileSync(`${file}.pub`, "utf8").split(" ")[1] ?? "", "base64");
      expect(toHex(blob.subarray(-32))).toBe(toHex(parsed.publicKey!.subarray(-32)));
      return;
    }
    execFileSync("ssh-keygen", ["-q", "-p", "-P", "", "-N", "", "-m", "PKCS8", "-f", file]);
    expect(hexOf(parseMaterial(readFileSync(file)))).toBe(hexOf(parsed));
  });

  it("is refused with a passphrase on it, and with a damaged public part", () => {
    const locked = make("locked", "-N", "correct horse", "-t", "ed25519");
    expect(() => parseMaterial(readFileSync(locked))).toThrow(refusal("NOT_SUPPORTED"));
    const open = readFileSync(make("open", "-N", "", "-t", "ed25519"), "utf8").split("\n");
    const bytes = Buffer.from(open.slice(1, -2).join(""), "base64");
    const at = bytes.lastIndexOf("ssh-ed25519") + "ssh-ed25519".length + 4;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    const body = bytes.toString("base64");
    const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----\n`;
    expect(() => parseMaterial(Buffer.from(text))).toThrow(refusal("MALFORMED"));
  });
});
