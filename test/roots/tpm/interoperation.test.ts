import { spawnSync } from "node:child_process";
import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { p256SignatureToDer, p256Spki } from "../../../src/bytes/der.ts";
import { authFrom } from "../../../src/roots/tpm/auth.ts";
import { bytes2b, encode } from "../../../src/roots/tpm/codec.ts";
import { makeCredential } from "../../../src/roots/tpm/credential.ts";
import { handleFromPem, handleToPem, keyFileOf } from "../../../src/roots/tpm/keys.ts";
import { openTpmRoot, type TpmRoot } from "../../../src/roots/tpm/root.ts";
import { readRootFile } from "../../../src/roots/tpm/root-file.ts";
import { nameOf, public2b, readAttestation } from "../../../src/roots/tpm/structures.ts";
import { HAS_SWTPM, HAS_TPM2_PROVIDER, HAS_TPM2_TOOLS, openTpmLab, type SoftwareTpm, type TpmLab } from "./lab.ts";

describe.runIf(HAS_SWTPM && HAS_TPM2_TOOLS)("beside other programs of a TPM", { timeout: 120_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let root: TpmRoot | undefined;
  const file = (name: string) => join(lab.folder, name);

  beforeAll(async () => {
    lab = openTpmLab();
    tpm = await lab.tpm();
  });
  afterAll(async () => {
    await root?.close();
    await lab?.close();
  });

  /** swtpm serves one program at a time. */
  async function ours<T>(body: (root: TpmRoot) => Promise<T>): Promise<T> {
    root = await openTpmRoot(tpm.location, { folder: file("roots") });
    try {
      return await body(root);
    } finally {
      await root.close();
      root = undefined;
    }
  }

  function run(program: string, ...args: string[]): string {
    const env = { ...process.env, TPM2TOOLS_TCTI: tpm.tcti, TPM2OPENSSL_TCTI: tpm.tcti };
    const { status, stdout, stderr } = spawnSync(program, args, { env, cwd: lab.folder, encoding: "latin1" });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  const openssl = (...args: string[]) => run("openssl", ...args);
  const PROVIDERS = ["-provider", "tpm2", "-provider", "default"];

  async function serial(): Promise<string> {
    return ours(async (root) => (await root.describe()).serial);
  }

  /** tpm2_load of Debian 12 takes the two parts of a key each in its own file. */
  function load(handle: string): void {
    const { area, privatePart } = keyFileOf(handle);
    writeFileSync(file("key.public"), encode(public2b, area));
    writeFileSync(file("key.private"), encode(bytes2b, privatePart));
    run("tpm2_load", "-C", "0x81000001", "-u", "key.public", "-r", "key.private", "-c", "key.ctx");
  }

  /** The passphrase of this vault's keys, in a file. */
  async function passphrase(): Promise<string> {
    const kept = readRootFile(join(file("roots"), `${await serial()}.tpm`));
    if (kept === undefined) throw new Error("no file");
    writeFileSync(file("auth"), authFrom(kept.seed, "key"), { mode: 0o600 });
    return file("auth");
  }

  it.each(["p256", "rsa2048"] as const)("tpm2-tools sign with a %s key of ours", async (algorithm) => {
    const { handle, publicKey } = await ours((root) => root.generateKey({ algorithm, use: "sign", occupied: [] }));
    const auth = await passphrase();
    load(handle);
    run("tpm2_flushcontext", "-t");
    const message = randomBytes(50);
    writeFileSync(file("message"), message);
    const scheme = algorithm === "p256" ? "ecdsa" : "rsassa";
    run(
      "tpm2_sign",
      ...["-c", "key.ctx", "-p", `file:${auth}`, "-g", "sha256"],
      ...["-s", scheme, "-f", "plain", "-o", "sig"],
      "message",
    );
    run("tpm2_flushcontext", "-t");
    const key = createPublicKey({ key: Buffer.from(publicKey.spki), format: "der", type: "spki" });
    expect(verify("sha256", message, key, readFileSync(file("sig")))).toBe(true);
  });

  it("tpm2-tools take nobody without the authorisation", async () => {
    const { handle } = await ours((root) => root.generateKey({ algorithm: "p256", use: "sign", occupied: [] }));
    load(handle);
    run("tpm2_flushcontext", "-t");
    expect(() => run("tpm2_sign", "-c", "key.ctx", "-g", "sha256", "-o", "sig", "key.public")).toThrow(/auth/i);
    run("tpm2_flushcontext", "-t");
  });

  it.runIf(HAS_TPM2_PROVIDER).each(["p256", "rsa2048"] as const)(
    "OpenSSL's provider signs with a %s key of ours",
    async (algorithm) => {
      const { handle, publicKey } = await ours((root) => root.generateKey({ algorithm, use: "sign", occupied: [] }));
      writeFileSync(file("key.pem"), handleToPem(handle));
      const auth = await passphrase();
      const message = randomBytes(50);
      writeFileSync(file("message"), message);
      openssl(
        ...["pkeyutl", ...PROVIDERS, "-sign", "-rawin", "-digest", "sha256", "-inkey", "key.pem"],
        ...["-passin", `file:${auth}`, "-in", "message", "-out", "sig"],
      );
      const key = createPublicKey({ key: Buffer.from(publicKey.spki), format: "der", type: "spki" });
      expect(verify("sha256", message, key, readFileSync(file("sig")))).toBe(true);
    },
  );

  it.runIf(HAS_TPM2_PROVIDER).each([
    ["EC", "group:P-256"],
    ["RSA", "bits:2048"],
  ])("we sign with a key that OpenSSL's provider made (%s)", async (algorithm, option) => {
    openssl("genpkey", ...PROVIDERS, "-algorithm", algorithm, "-pkeyopt", option, "-out", "theirs.pem");
    openssl("pkey", ...PROVIDERS, "-in", "theirs.pem", "-pubout", "-out", "theirs.pub");
    const handle = handleFromPem(readFileSync(file("theirs.pem"), "utf8"));
    const message = randomBytes(50);
    const digest = new Uint8Array(createHash("sha256").update(message).digest());
    const theirs = createPublicKey(readFileSync(file("theirs.pub")));
    await ours(async (root) => {
      const { spki } = await root.publicKey(handle);
      expect(Buffer.from(spki)).toEqual(theirs.export({ format: "der", type: "spki" }));
      if (algorithm === "EC") {
        const signature = await root.sign(handle, digest);
        expect(verify("sha256", message, { key: theirs, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
      } else {
        const signature = await root.sign(handle, digest, { scheme: "rsa-pkcs1", digest: "sha256" });
        expect(verify("sha256", message, theirs, signature)).toBe(true);
      }
    });
  });

  it("we sign with a key that tpm2-tools made", async () => {
    run("tpm2_create", "-C", "0x81000001", "-G", "ecc256", "-u", "key.pub", "-r", "key.priv", "-Q");
    run("tpm2_flushcontext", "-t");
    run("tpm2_encodeobject", "-C", "0x81000001", "-u", "key.pub", "-r", "key.priv", "-o", "encoded.pem");
    run("tpm2_flushcontext", "-t");
    const handle = handleFromPem(readFileSync(file("encoded.pem"), "utf8"));
    await ours(async (root) => {
      const { spki } = await root.publicKey(handle);
      const message = randomBytes(50);
      const signature = await root.sign(handle, new Uint8Array(createHash("sha256").update(message).digest()));
      const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
      expect(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
    });
  });

  it("tpm2_checkquote believes our evidence", async () => {
    const statement = new Uint8Array(createHash("sha256").update("state").digest());
    const { message, signature, signer } = await ours((root) => root.certify(statement));
    const key = createPublicKey({ key: Buffer.from(p256Spki(signer)), format: "der", type: "spki" });
    writeFileSync(file("ak.pem"), key.export({ format: "pem", type: "spki" }));
    writeFileSync(file("quote.msg"), message);
    writeFileSync(file("quote.sig"), p256SignatureToDer(signature));
    run(
      "tpm2_checkquote",
      ...["-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig", "-g", "sha256"],
      ...["-q", Buffer.from(statement).toString("hex")],
    );
    expect(() =>
      run(
        "tpm2_checkquote",
        "-u",
        "ak.pem",
        "-m",
        "quote.msg",
        "-s",
        "quote.sig",
        "-g",
        "sha256",
        "-q",
        "00".repeat(32),
      ),
    ).toThrow();
  });

  it("a certification names the key, and says that it cannot leave the TPM", async () => {
    const nonce = new Uint8Array(randomBytes(20));
    await ours(async (root) => {
      const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      const { message, signature, signer } = await root.attestKey(handle, nonce);
      const attestation = readAttestation(message);
      if (!("certify" in attestation)) throw new Error("no certification");
      expect(attestation.extraData).toEqual(nonce);
      expect(attestation.certify.name).toEqual(nameOf(keyFileOf(handle).area));
      expect(keyFileOf(handle).area.attributes & 0x12).toBe(0x12); // fixedTPM, fixedParent
      const key = createPublicKey({ key: Buffer.from(p256Spki(signer)), format: "der", type: "spki" });
      expect(verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
      expect(signer).toEqual((await root.certify(new Uint8Array(32))).signer);
    });
  });

  it("a credential is read by this TPM with this key, and by no other", async () => {
    const credential = new Uint8Array(randomBytes(32));
    const { endorsement, attestationName } = await ours((root) => root.identity());
    const { blob, secret } = makeCredential(endorsement, attestationName, credential);
    using read = await ours((root) => root.activateCredential(blob, secret));
    expect(read.use((bytes) => bytes.slice())).toEqual(credential);
    const another = makeCredential(endorsement, new Uint8Array(34).fill(1), credential);
    await expect(ours((root) => root.activateCredential(another.blob, another.secret))).rejects.toMatchObject({
      code: "ROOT_REFUSED",
    });
  });

  it("tpm2_makecredential and we agree on what a credential is", async () => {
    const { endorsement, attestationName } = await ours((root) => root.identity());
    const credential = new Uint8Array(randomBytes(32));
    writeFileSync(file("ek.pub"), encode(public2b, endorsement));
    writeFileSync(file("secret"), credential);
    run(
      "tpm2_makecredential",
      ...["-T", "none", "-u", "ek.pub", "-s", "secret"],
      ...["-n", Buffer.from(attestationName).toString("hex"), "-o", "credential"],
    );
    // Magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET
    const made = readFileSync(file("credential")).subarray(8);
    const length = made.readUInt16BE(0);
    const blob = new Uint8Array(made.subarray(2, 2 + length));
    const secret = new Uint8Array(made.subarray(4 + length));
    using read = await ours((root) => root.activateCredential(blob, secret));
    expect(read.use((bytes) => bytes.slice())).toEqual(credential);
  });

  it("an RSA storage key of another program serves as well", async () => {
    const other = await lab.tpm();
    const env = { ...process.env, TPM2TOOLS_TCTI: other.tcti };
    for (const line of [
      "tpm2_startup -c",
      "tpm2_createprimary -C o -G rsa2048 -c rsa.ctx -Q",
      "tpm2_flushcontext -t",
      "tpm2_evictcontrol -C o -c rsa.ctx 0x81000001 -Q",
      "tpm2_flushcontext -t",
    ]) {
      const { status, stderr } = spawnSync("sh", ["-c", line], { env, cwd: lab.folder, encoding: "utf8" });
      expect(status, `${line}: ${stderr}`).toBe(0);
    }
    const theirs = await openTpmRoot(other.location, { folder: file("rsa-roots") });
    try {
      const { handle } = await theirs.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
      expect(await theirs.sign(handle, new Uint8Array(32).fill(3))).toHaveLength(64);
      (await theirs.derive("x", new Uint8Array())).destroy();
    } finally {
      await theirs.close();
    }
  });

  it("what is no storage key at its place is named, and nothing is changed", async () => {
    const other = await lab.tpm();
    const env = { ...process.env, TPM2TOOLS_TCTI: other.tcti };
    for (const line of [
      "tpm2_startup -c",
      "tpm2_createprimary -C o -G ecc256:ecdsa -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign' -c sign.ctx -Q",
      "tpm2_flushcontext -t",
      "tpm2_evictcontrol -C o -c sign.ctx 0x81000001 -Q",
      "tpm2_flushcontext -t",
    ]) {
      const { status, stderr } = spawnSync("sh", ["-c", line], { env, cwd: lab.folder, encoding: "utf8" });
      expect(status, `${line}: ${stderr}`).toBe(0);
    }
    await expect(openTpmRoot(other.location, { folder: file("sign-roots") })).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("no storage key"),
    });
  });
});
