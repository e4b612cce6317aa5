/** Tokens that can less than SoftHSM2, and keys that were in them before. */
import { spawnSync } from "node:child_process";
import { createHash, createPublicKey, randomBytes, verify, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openPkcs11Root, type Pkcs11Options } from "../../../src/roots/pkcs11/index.ts";
import type { Pkcs11Location } from "../../../src/roots/pkcs11/location.ts";
import type { Root } from "../../../src/roots/root.ts";
import { hexOf } from "../contract.ts";
import { PIN, pin } from "./softhsm.ts";
import { type BadToken, badTokens } from "./vendor.ts";

const bad = badTokens();
if ("missing" in bad) describe("a PKCS#11 token that can less", () => it.skip(bad.missing));
else describe("a PKCS#11 token that can less", { timeout: 120_000 }, () => lesserTokens(bad.make));

const missing = ["pkcs11-tool", "openssl"].filter((program) => spawnSync("which", [program]).status !== 0);

/** Bad numbers of PKCS #11 v2.40 whose mechanisms a token does not have. */
const WITHOUT = {
  ecdh: ["MECHANISM_1050 rv=70 -1"],
  ec: ["MECHANISM_1040 rv=70 -1", "MECHANISM_1041 rv=70 -1", "MECHANISM_1050 rv=70 -1"],
  rsa: ["MECHANISM_0 rv=70 -1", "MECHANISM_1 rv=70 -1", "MECHANISM_d rv=70 -1"],
} as const;

function lesserTokens(make: () => BadToken): void {
  let token: BadToken;
  const roots: Root[] = [];
  let made = 0;

  beforeAll(() => {
    token = make();
  });
  afterEach(async () => {
    for (const root of roots.splice(0)) await root.close();
    token.vendor.misbehave();
  });
  afterAll(() => token?.close());

  const newToken = (): Pkcs11Location => ({ ...token.tokens.make(`t${++made}`), module: token.location.module });

  async function open(location: Pkcs11Location, options: Pkcs11Options = { mayProvision: true }): Promise<Root> {
    const root = await openPkcs11Root(location, { pin: pin(), ...options });
    roots.push(root);
    return root;
  }

  const abilities = async (root: Root) => {
    const { state, capabilities } = await root.describe();
    const { derive, certify, makes } = capabilities;
    return { state, derive, certify, makes: makes.map(({ algorithm, use }) => `${algorithm} ${use}`) };
  };

  const derived = async (root: Root, label = "label") => hexOf(await root.derive(label, Uint8Array.of(1)));

  it("has no keys of ours until it is set up, and then always the same", async () => {
    const location = newToken();
    const blank = await open(location, {});
    expect(await abilities(blank)).toMatchObject({ state: "blank", derive: false, certify: false });
    await expect(blank.derive("x", new Uint8Array())).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    await expect(blank.certify(new Uint8Array(32))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    const ready = await open(location);
    expect(await abilities(ready)).toMatchObject({ state: "ready", derive: true, certify: true });
    const [one, { signer }] = [await derived(ready), await ready.certify(new Uint8Array(32))];
    const again = await open(location);
    expect(await derived(again)).toBe(one);
    expect((await again.certify(new Uint8Array(32))).signer).toEqual(signer);
    await again.zeroize();
    expect(await abilities(await open(location, {}))).toMatchObject({ state: "blank" });
  });

  it("keeps its own two keys for itself", async () => {
    const location = newToken();
    const root = await open(location);
    for (const label of ["thornkey-derive", "thornkey-evidence"]) {
      const handle = `id:${createHash("sha256").update(label).digest("hex").slice(0, 32)}`;
      await expect(root.publicKey(handle)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
      await expect(root.sign(handle, new Uint8Array(32))).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
      await expect(root.agree(handle, new Uint8Array(64))).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
      await expect(root.destroyKey(handle)).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
    }
  });

  it("without ECDH derives by RSA signatures, always the same", async () => {
    const location = newToken();
    token.vendor.misbehave(...WITHOUT.ecdh);
    const root = await open(location);
    expect(await abilities(root)).toEqual({
      ...{ state: "ready", derive: true, certify: true },
      makes: ["p256 sign", "p384 sign", "rsa2048 sign", "rsa3072 sign", "rsa4096 sign"],
    });
    const one = await derived(root);
    expect(await derived(root)).toBe(one);
    expect(await derived(root, "other")).not.toBe(one);
    expect(await derived(await open(location))).toBe(one);
    token.vendor.misbehave(...WITHOUT.ecdh, "C_Sign garbage -1");
    await expect(root.derive("label", Uint8Array.of(1))).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  });

  it("without curves gives no evidence, and says so; without anything it does nothing", async () => {
    token.vendor.misbehave(...WITHOUT.ec);
    const rsa = await open(newToken());
    expect(await abilities(rsa)).toMatchObject({ state: "ready", derive: true, certify: false });
    await expect(rsa.certify(new Uint8Array(32))).rejects.toMatchObject({ name: "ThornkeyError" });
    token.vendor.misbehave(...WITHOUT.ec, ...WITHOUT.rsa);
    const none = await open(newToken());
    expect(await abilities(none)).toMatchObject({ derive: false, certify: false, makes: [] });
    await expect(none.derive("x", new Uint8Array())).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  });

  it("signs and agrees only with keys that are for it", async () => {
    const root = await open(newToken());
    const signing = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const agreeing = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    const rsa = await root.generateKey({ algorithm: "rsa2048", use: "sign", occupied: [] });
    const refuses = (attempt: Promise<unknown>, code: string) => expect(attempt).rejects.toMatchObject({ code });
    const digest = new Uint8Array(32);
    await refuses(root.sign(agreeing.handle, digest), "ROOT_REFUSED");
    await refuses(root.agree(signing.handle, rawPoint(agreeing.publicKey.spki)), "ROOT_REFUSED");
    await refuses(root.sign(signing.handle, digest, { scheme: "rsa-pkcs1", digest: "sha256" }), "NOT_SUPPORTED");
    await refuses(root.sign(rsa.handle, digest), "NOT_SUPPORTED");
    await refuses(root.sign(rsa.handle, digest, { scheme: "rsa-pkcs1", digest: "sha512" }), "MALFORMED");
    await refuses(root.sign(rsa.handle, digest, { scheme: "rsa-pss", digest: "sha256", saltLength: 300 }), "MALFORMED");
    await refuses(root.sign(signing.handle, new Uint8Array(31)), "MALFORMED");
    await refuses(root.agree(agreeing.handle, new Uint8Array(64).fill(1)), "MALFORMED");
    await refuses(root.agree(agreeing.handle, new Uint8Array(64)), "MALFORMED");
  });

  describe.skipIf(missing.length > 0)(`with keys of others (needs ${missing.join(", ") || "nothing more"})`, () => {
    const tool = (label: string, ...args: string[]) => {
      const all = ["--module", token.tokens.module, "--token-label", label, "--login", "--pin", PIN, ...args];
      const { status, stderr } = spawnSync("pkcs11-tool", all, { encoding: "utf8" });
      if (status !== 0) throw new Error(`pkcs11-tool ${args[0]}: ${stderr}`);
    };

    it("derives and gives evidence with those it is told to, and makes none in their place", async () => {
      const location = newToken();
      const label = location.token ?? "";
      tool(label, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "03", "--usage-derive", "--label", "KEY MAN");
      tool(label, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "02", "--usage-sign", "--label", "SIGN");
      const adopted = { ...location, deriveId: "03", evidenceId: "02" };
      const root = await open(adopted);
      expect(await root.describe()).toMatchObject({ state: "ready", profile: "adopted" });
      const one = await derived(root);
      expect(await derived(await open(adopted, {}))).toBe(one);
      expect((await root.certify(new Uint8Array(32))).signature).toHaveLength(64);
      await expect(root.sign("id:02", new Uint8Array(32))).rejects.toMatchObject({ code: "KEY_NOT_FOUND" });
      const wrong = await open({ ...location, deriveId: "0a", evidenceId: "0b" });
      expect(await abilities(wrong)).toMatchObject({ state: "blank", derive: false, certify: false });
    });

    it("knows a key by its certificate when there is no public key beside it", async () => {
      const location = newToken();
      const label = location.token ?? "";
      const [key, certificate] = ["key.pem", "cert.pem"].map((name) => join(token.tokens.folder, name)) as [
        string,
        string,
      ];
      const [keyDer, certDer] = [`${key}.der`, `${certificate}.der`];
      const openssl = (...args: string[]) => {
        const { status, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
        if (status !== 0) throw new Error(stderr);
      };
      openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key);
      openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=x", "-days", "9", "-out", certificate);
      openssl("pkcs8", "-topk8", "-nocrypt", "-in", key, "-outform", "DER", "-out", keyDer);
      openssl("x509", "-in", certificate, "-outform", "DER", "-out", certDer);
      tool(label, "--write-object", keyDer, "--type", "privkey", "--id", "05", "--usage-sign");
      tool(label, "--write-object", certDer, "--type", "cert", "--id", "05");
      const root = await open(location);
      const { spki } = await root.publicKey("id:05");
      const { readFileSync } = await import("node:fs");
      const expected = new X509Certificate(readFileSync(certDer)).publicKey.export({ type: "spki", format: "der" });
      expect(Buffer.from(spki)).toEqual(expected);
      const message = randomBytes(9);
      const signature = await root.sign("id:05", new Uint8Array(createHash("sha256").update(message).digest()));
      const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
      expect(verify("sha256", message, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
    });

    it("destroys what it made, and leaves alone what others made", async () => {
      const location = newToken();
      tool(location.token ?? "", "--keypairgen", "--key-type", "EC:prime256v1", "--id", "07", "--label", "theirs");
      const root = await open(location);
      await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      const { destroyed, kept } = await root.zeroize();
      expect(destroyed.map((name) => name.split(" ")[0]).sort()).toEqual([
        ...["thornkey-derive", "thornkey-evidence", "thornkey-key"],
      ]);
      expect(kept).toEqual([]);
      expect((await root.publicKey("id:07")).algorithm).toBe("p256");
    });
  });
}

const rawPoint = (spki: Uint8Array) => spki.slice(-64);
