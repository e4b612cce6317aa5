/** Tokens made with keys of the vault, checked by jose, and by node:crypto alone. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { decode, encode } from "cborg";
import * as jose from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromHex } from "../../src/bytes/bytes.ts";
import {
  createClientAssertion,
  createCwt,
  createJwt,
  createProof,
  publicJwk,
  signCompact,
  signerOf,
  signSign1,
  type TokenAlgorithmName,
  thumbprint,
  verifyCompact,
  verifySign1,
  verifyToken,
} from "../../src/trust/index.ts";
import { openTrustLab, type TrustLab } from "./lab.ts";

let lab: TrustLab;
beforeAll(async () => {
  lab = await openTrustLab();
});
afterAll(() => lab?.close());

const ALGORITHMS: readonly (readonly [string, TokenAlgorithmName, string, number])[] = [
  ["wrapped", "ES256", "sha256", -7],
  ["silicon", "ES256", "sha256", -7],
  ["p384", "ES384", "sha384", -35],
  ["p521", "ES512", "sha512", -36],
  ["koblitz", "ES256K", "sha256", -47],
  ["edwards", "EdDSA", "", -8],
  ["rsa", "PS256", "sha256", -37],
  ["rsa", "PS384", "sha384", -38],
  ["rsa", "PS512", "sha512", -39],
  ["rsa", "RS256", "sha256", -257],
  ["rsa", "RS384", "sha384", -258],
  ["rsa", "RS512", "sha512", -259],
];
const signer = (name: string) => signerOf(lab.vault, name);
const keyOf = async (name: string) =>
  createPublicKey({ key: Buffer.from((await signer(name)).publicKey), format: "der", type: "spki" });

/** jose does not take ES256K any more; a key of node's own checks it. */
async function claimsBy(name: string, algorithm: TokenAlgorithmName, token: string): Promise<Record<string, unknown>> {
  if (algorithm !== "ES256K")
    return (await jose.jwtVerify(token, await keyOf(name), { algorithms: [algorithm] })).payload;
  const [head = "", body = "", tail = ""] = token.split(".");
  const key = { key: await keyOf(name), dsaEncoding: "ieee-p1363" as const };
  expect(verify("sha256", Buffer.from(`${head}.${body}`), key, Buffer.from(tail, "base64url"))).toBe(true);
  return JSON.parse(Buffer.from(body, "base64url").toString());
}

describe("a token of claims", () => {
  it.each(ALGORITHMS)("by %s with %s is taken by others, and says what it should", async (name, algorithm) => {
    const token = await createJwt(await signer(name), {
      ...{ issuer: "pump", subject: "7", audience: ["a", "b"], expires: 60, algorithm },
      ...{ claims: { level: 3, tags: ["x"] }, header: { cty: "x" } },
    });
    const claims = await claimsBy(name, algorithm, token);
    expect(claims).toMatchObject({ iss: "pump", sub: "7", aud: ["a", "b"], level: 3, tags: ["x"] });
    expect(Number(claims.exp) - Number(claims.iat)).toBe(60);
    const jwk = publicJwk((await signer(name)).publicKey);
    const header = jose.decodeProtectedHeader(token);
    expect(header).toEqual({
      alg: algorithm,
      typ: "JWT",
      kid: await jose.calculateJwkThumbprint(jwk as jose.JWK),
      cty: "x",
    });
    const { type, publicKey } = await signer(name);
    expect(verifyToken(type, publicKey, token, { audience: "b", issuer: "pump" }).claims).toEqual(claims);
  });

  it("is refused when it is another's, for others, too old, too new, or changed", async () => {
    const { type, publicKey } = await signer("wrapped");
    const other = await signer("silicon");
    const token = await createJwt(await signer("wrapped"), {
      audience: "a",
      issuer: "i",
      notBefore: 100,
      expires: 200,
    });
    const at =
      (seconds: number, more = {}) =>
      () =>
        verifyToken(type, publicKey, token, { now: Date.now() + seconds * 1000, ...more });
    const refused = expect.objectContaining({ code: "NOT_PERMITTED" });
    expect(at(150)).not.toThrow();
    expect(at(0)).toThrow(refused);
    expect(at(300)).toThrow(refused);
    expect(at(150, { audience: "b" })).toThrow(refused);
    expect(at(150, { issuer: "j" })).toThrow(refused);
    expect(() => verifyToken(other.type, other.publicKey, token, { now: Date.now() + 150_000 })).toThrow(refused);
    const [head = "", body = "", tail = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(body, "base64url").toString());
    const forged = Buffer.from(JSON.stringify({ ...claims, aud: "b" })).toString("base64url");
    expect(() => verifyToken(type, publicKey, `${head}.${forged}.${tail}`)).toThrow(refused);
    for (const alg of ["none", "HS256", "ES384", "RS256"]) {
      const other = Buffer.from(JSON.stringify({ alg })).toString("base64url");
      expect(() => verifyToken(type, publicKey, `${other}.${body}.${tail}`), alg).toThrow(refused);
    }
    const critical = Buffer.from(JSON.stringify({ alg: "ES256", crit: ["x"], x: 1 })).toString("base64url");
    expect(() => verifyToken(type, publicKey, `${critical}.${body}.${tail}`)).toThrow(/critical/);
    for (const junk of ["", "a.b", "a.b.c.d", "..", "!.!.!", `${head}.${body}.`, `${head}..${tail}=`, "e30.e30.AA"]) {
      expect(() => verifyToken(type, publicKey, junk), junk).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/MALFORMED|NOT_PERMITTED/) }),
      );
    }
  });

  it("has one text: unused bits of its last character count", async () => {
    const { type, publicKey } = await signer("wrapped");
    const token = await signCompact(await signer("wrapped"), {}, { a: 1 });
    const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const twin = token.slice(0, -1) + digits[digits.indexOf(token.at(-1) ?? "") ^ 1];
    expect(verifyCompact(type, publicKey, token)).toBeDefined();
    expect(verifyCompact(type, publicKey, twin)).toBeUndefined();
  });

  it("leaves to nobody what follows from the key", async () => {
    for (const header of [{ alg: "none" }, { crit: ["x"] }, { b64: false }]) {
      await expect(signCompact(await signer("wrapped"), header, {})).rejects.toMatchObject({ code: "USAGE" });
    }
    expect(() => createJwt({} as never, { claims: { exp: 1 } })).toThrow(expect.objectContaining({ code: "USAGE" }));
    await expect(signCompact(await signer("wrapped"), {}, {}, "RS256")).rejects.toMatchObject({ code: "USAGE" });
  });

  it("signs the example of RFC 8037 as the RFC has it", async () => {
    const pkcs8 = fromHex(
      "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    );
    const policy = { allow: [{ who: "any", rights: ["use" as const] }] };
    await lab.vault.keys.import({ name: "rfc8037", type: "ed25519", material: pkcs8, policy });
    const made = await signCompact(await signer("rfc8037"), {}, new TextEncoder().encode("Example of Ed25519 signing"));
    expect(made).toBe(
      "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    );
    // RFC 8037, A.3.
    expect(thumbprint(publicJwk((await signer("rfc8037")).publicKey))).toBe(
      "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    );
  });
});

describe("a token of OAuth", () => {
  it("proves for one request that one has the key", async () => {
    const proof = await createProof(await signer("silicon"), {
      ...{ method: "post", url: "https://as.example:8443/token?a=b#c", accessToken: "secret", nonce: "n" },
    });
    const { payload, protectedHeader } = await jose.jwtVerify(proof, jose.EmbeddedJWK, { typ: "dpop+jwt" });
    expect(payload).toMatchObject({ htm: "POST", htu: "https://as.example:8443/token", nonce: "n" });
    expect(payload.ath).toBe(createHash("sha256").update("secret").digest("base64url"));
    expect(payload.jti).toMatch(/.{20}/);
    expect(protectedHeader.jwk).toEqual(publicJwk((await signer("silicon")).publicKey));
    const bare = jose.decodeJwt(await createProof(await signer("rsa"), { method: "GET", url: "https://a.example" }));
    expect(Object.keys(bare).sort()).toEqual(["htm", "htu", "iat", "jti"]);
    expect(bare.htu).toBe("https://a.example/");
  });

  it("is made for HTTP only", async () => {
    const key = await signer("wrapped");
    expect(() => createProof(key, { method: "GET", url: "ftp://a" })).toThrow(
      expect.objectContaining({ code: "USAGE" }),
    );
    expect(() => createProof(key, { method: "GET", url: "a" })).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(() => createProof(key, { method: "G T", url: "http://a" })).toThrow(
      expect.objectContaining({ code: "USAGE" }),
    );
  });

  it("says who a client is, once each time", async () => {
    const options = { client: "pump-7", audience: "https://as.example/token" };
    const made = await Promise.all([1, 2].map(async () => createClientAssertion(await signer("rsa"), options)));
    const checks = {
      issuer: "pump-7",
      subject: "pump-7",
      audience: options.audience,
      requiredClaims: ["jti", "exp", "iat"],
    };
    const ids = await Promise.all(
      made.map(async (one) => (await jose.jwtVerify(one, await keyOf("rsa"), checks)).payload.jti),
    );
    expect(new Set(ids).size).toBe(2);
  });
});

describe("a message of COSE", () => {
  it.each(ALGORITHMS)(
    "by %s with %s is COSE_Sign1, checked without our code",
    async (name, algorithm, digest, number) => {
      const payload = new TextEncoder().encode("This is the content.");
      const external = fromHex("11aa22bb33cc44dd55006699");
      const made = await signSign1(await signer(name), payload, { keyId: Uint8Array.of(1), external, algorithm });
      expect(made[0]).toBe(0xd2);
      const [head, unprotected, body, signature] = decode(made.subarray(1), { useMaps: true });
      expect(decode(head, { useMaps: true })).toEqual(new Map([[1, number]]));
      expect(unprotected).toEqual(new Map([[4, Uint8Array.of(1)]]));
      expect(body).toEqual(payload);
      const signed = encode(["Signature1", head, external, payload]);
      const pss = algorithm.startsWith("PS") ? { padding: 6, saltLength: -1 } : {};
      const key = { key: await keyOf(name), dsaEncoding: "ieee-p1363" as const, ...pss };
      expect(verify(digest || null, signed, key, signature)).toBe(true);
      const { type, publicKey } = await signer(name);
      expect(verifySign1(type, publicKey, made, external)?.payload).toEqual(payload);
      expect(verifySign1(type, publicKey, made)).toBeUndefined();
      const changed = made.slice();
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
      expect(verifySign1(type, publicKey, changed, external)).toBeUndefined();
    },
  );

  it("of RFC 8392 (A.3) is taken with its key", () => {
    const x = "143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f";
    const y = "60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9";
    const publicKey = fromHex(`3059301306072a8648ce3d020106082a8648ce3d03010703420004${x}${y}`);
    const token = fromHex(
      "d28443a10126a104524173796d6d657472696345434453413235365850a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572696b" +
        "77037818636f61703a2f2f6c696768742e6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b7158405427c1ff28d2" +
        "3fbad1f29c4c7c6a555e601d6fa29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ecee743a52b9b63632c57209120e1c9e30",
    );
    const { claims } = verifyToken("p256", publicKey, token, {
      now: 1_444_000_000_000,
      audience: "coap://light.example.com",
    });
    expect(claims).toMatchObject({
      iss: "coap://as.example.com",
      sub: "erikw",
      exp: 1_444_064_944,
      cti: fromHex("0b71"),
    });
    expect(() => verifyToken("p256", publicKey, token)).toThrow(/expired/);
  });

  it("of claims is CWT, with numbers for their names", async () => {
    const token = await createCwt(await signer("silicon"), {
      ...{
        issuer: "pump",
        audience: "a",
        expires: 60,
        claims: new Map<string | number, number>([
          ["level", 3],
          [-70001, 4],
        ]),
      },
    });
    expect([...token.subarray(0, 3)]).toEqual([0xd8, 0x3d, 0xd2]);
    const claims = decode(decode(token.subarray(3), { useMaps: true })[2], { useMaps: true });
    expect([claims.get(1), claims.get(3), claims.get("level"), claims.get(-70001)]).toEqual(["pump", "a", 3, 4]);
    expect(claims.get(4) - claims.get(6)).toBe(60);
    const { type, publicKey } = await signer("silicon");
    for (const form of [token, Buffer.from(token).toString("base64url")]) {
      expect(verifyToken(type, publicKey, form, { audience: "a" })).toMatchObject({
        kind: "cwt",
        claims: { iss: "pump", level: 3 },
      });
    }
    await expect(createCwt(await signer("silicon"), { claims: new Map([[4, 1]]) })).rejects.toMatchObject({
      code: "USAGE",
    });
  });

  it("is refused when it is none", async () => {
    const { type, publicKey } = await signer("wrapped");
    for (const junk of [
      "",
      "d2",
      "d280",
      "d284",
      "d28440a04040",
      "a0",
      "d28443a10126a0f640",
      "d28443a10126a04100",
      "9fff",
    ]) {
      let result: unknown;
      try {
        result = verifySign1(type, publicKey, fromHex(junk));
      } catch (error) {
        result = (error as { code: string }).code;
      }
      expect([undefined, "MALFORMED"], junk).toContain(result);
    }
  });
});
