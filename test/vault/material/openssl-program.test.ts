/** The openssl program as a peer: it verifies what the keys of the vault sign, and reads and writes them. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toHex } from "../../../src/bytes/bytes.ts";
import { ecdsaSignatureFromDer, ecdsaSignatureToDer } from "../../../src/bytes/ecdsa-signature.ts";
import { canDo, factsOf, sizeOf } from "../../../src/operations/key-types.ts";
import { loadKey } from "../../../src/vault/material/load.ts";
import { parseMaterial } from "../../../src/vault/material/parse.ts";
import { verifySignature } from "../../../src/vault/material/verify.ts";
import { ASYMMETRIC, digest, keyOf, SIGNING, signSpecsOf } from "./keys.ts";

const MESSAGE = new TextEncoder().encode("signed by one, verified by the other");

describe.skipIf(spawnSync("openssl", ["version"]).error !== undefined)("the openssl program", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "thornkey-openssl-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

  const path = (name: string) => join(directory, name);
  const put = (name: string, bytes: Uint8Array) => {
    writeFileSync(path(name), bytes);
    return path(name);
  };
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { timeout: 60_000, stdio: ["ignore", "pipe", "pipe"] });
  const paddingOf = (algorithm: string) =>
    algorithm === "rsa-pss" ? ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"] : [];

  it.each(SIGNING)("verifies what a key of type %s signs, and the other way round", async (type) => {
    const { secret, publicKey } = await keyOf(type);
    const key = loadKey(type, secret);
    const spki = put("public.der", publicKey!);
    const pkcs8 = secret.use((bytes) => put("private.der", bytes));
    for (const spec of signSpecsOf(type)) {
      const ecdsa = spec.algorithm === "ecdsa";
      const signature = await key.sign(spec, MESSAGE);
      const signed = put("signature", ecdsa ? ecdsaSignatureToDer(signature) : signature);
      // openssl is given the digest, so that the digests meet too.
      const input = put("input", spec.digest === undefined ? MESSAGE : digest(spec.digest, MESSAGE));
      const how = [
        ...(spec.digest === undefined ? ["-rawin"] : ecdsa ? [] : ["-pkeyopt", `digest:${spec.digest}`]),
        ...paddingOf(spec.algorithm),
      ];
      const files = ["-in", input, "-keyform", "DER", ...how];
      openssl("pkeyutl", "-verify", "-pubin", "-inkey", spki, "-sigfile", signed, ...files);
      openssl("pkeyutl", "-sign", "-inkey", pkcs8, "-out", path("theirs"), ...files);
      const theirs = new Uint8Array(readFileSync(path("theirs")));
      const raw = ecdsa ? ecdsaSignatureFromDer(theirs, sizeOf(type)) : theirs;
      expect(verifySignature(type, publicKey!, spec, MESSAGE, raw)).toBe(true);
    }
  });

  it.each(ASYMMETRIC)("makes a key of type %s that is taken in, and reads ours", async (type) => {
    const { family, bits, curve } = factsOf(type);
    const how =
      family === "rsa"
        ? ["RSA", "-pkeyopt", `rsa_keygen_bits:${bits}`]
        : family === "ec"
          ? ["EC", "-pkeyopt", `ec_paramgen_curve:${curve}`]
          : [type.toUpperCase()];
    const made = openssl("genpkey", "-algorithm", ...how);
    const parsed = parseMaterial(made);
    expect(parsed.type).toBe(type);
    const spki = openssl(
      "pkey",
      "-inform",
      "DER",
      "-in",
      parsed.secret.use((bytes) => put("ours.der", bytes)),
      "-pubout",
      "-outform",
      "DER",
    );
    expect(toHex(spki)).toBe(toHex(parsed.publicKey!));
  });

  it.each(ASYMMETRIC.filter((type) => canDo(type, "ecdh")))("agrees with a key of type %s", async (type) => {
    const { family, curve } = factsOf(type);
    const how = family === "ec" ? ["EC", "-pkeyopt", `ec_paramgen_curve:${curve}`] : [type.toUpperCase()];
    const theirs = put("theirs.pem", openssl("genpkey", "-algorithm", ...how));
    const peer = openssl("pkey", "-in", theirs, "-pubout", "-outform", "DER");
    const { secret, publicKey } = await keyOf(type);
    const ours = put("peer.der", publicKey!);
    const shared = openssl("pkeyutl", "-derive", "-inkey", theirs, "-peerkey", ours, "-peerform", "DER");
    expect(loadKey(type, secret).agree(peer).use(toHex)).toBe(toHex(shared));
  });

  it("decrypts what RSA-OAEP encrypts, and the other way round", async () => {
    const { secret, publicKey } = await keyOf("rsa2048");
    const key = loadKey("rsa2048", secret);
    const pkcs8 = secret.use((bytes) => put("private.der", bytes));
    const spki = put("public.der", publicKey!);
    const spec = { cipher: "rsa-oaep", digest: "sha256", label: Uint8Array.of(0xab, 0xcd) } as const;
    const how = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256", "rsa_oaep_label:abcd"];
    const options = ["-keyform", "DER", ...how.flatMap((option) => ["-pkeyopt", option])];
    const ours = put("ours", key.encrypt(spec, MESSAGE));
    expect(toHex(openssl("pkeyutl", "-decrypt", "-inkey", pkcs8, "-in", ours, ...options))).toBe(toHex(MESSAGE));
    const theirs = openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", spki, "-in", put("message", MESSAGE), ...options);
    expect(key.decrypt(spec, theirs).use(toHex)).toBe(toHex(MESSAGE));
  });
});
