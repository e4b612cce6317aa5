/** Debian's own programs use the vault as a PKCS#11 token, through Debian's own p11-kit-client.so. */
import { createHash, createPublicKey, createVerify, randomBytes, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { CLIENT_MODULE, peerIsThere } from "./peers.ts";

const pkcs11Tool = peerIsThere("pkcs11-tool");
const p11tool = peerIsThere("p11tool");
const engine = peerIsThere("engine");

let lab: TokenLab;
const read = (name: string) => new Uint8Array(readFileSync(join(lab.folder, name)));

async function publicKeyOf(name: string) {
  const { publicKey } = await lab.thornkey.key(name).public();
  return createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
}

/** CKA_ID as we promise it: the key identifier of RFC 5280, 4.2.1.2, method 1. */
async function idOf(name: string): Promise<string> {
  const key = await publicKeyOf(name);
  const bits =
    key.asymmetricKeyType === "rsa"
      ? key.export({ format: "der", type: "pkcs1" })
      : key.export({ format: "der", type: "spki" }).subarray(-65);
  return createHash("sha1").update(bits).digest("hex");
}

describe.runIf(pkcs11Tool || p11tool || engine)("the token", () => {
  beforeAll(async () => {
    lab = await openTokenLab();
    const { keys } = lab.thornkey;
    await keys.create({ name: "ec1", type: "p256", protection: "wrapped", policy: lab.mine });
    await keys.create({ name: "inside", type: "p256", protection: "resident", policy: lab.mine });
    // pkcs11-tool's own test has every RSA key do everything; by default a key does not do raw RSA.
    const fixed = {
      algorithms: ["rsa-pss", "rsa-pkcs1", "rsa-oaep", "rsaes-pkcs1", "rsa-pkcs1-any", "rsa-raw"],
    } as const;
    await keys.create({ name: "rsa1", type: "rsa2048", protection: "wrapped", policy: lab.mine, fixed });
    await keys.create({ name: "ec2", type: "p384", protection: "wrapped", policy: lab.mine });
  });
  afterAll(() => lab?.close());

  describe.runIf(pkcs11Tool)("for pkcs11-tool", () => {
    it("is called thornkey, and is the device", async () => {
      const { output } = await lab.tool("-L");
      const { device } = await lab.thornkey.status();
      expect(output).toMatch(/token label +: thornkey\n/);
      expect(output).toContain(`serial num         : ${device.slice(0, 16)}`);
      expect(output).not.toContain("login required");
    });

    it("has a private and a public key of each, with one id", async () => {
      const { output } = await lab.tool("-O");
      for (const name of ["ec1", "inside", "rsa1"]) {
        const found = output
          .split(/(?=Private Key|Public Key)/)
          .filter((part) => part.includes(`label:      ${name}\n`));
        expect(found).toHaveLength(2);
        expect(new Set(found.map((part) => part.match(/ID: +(\w+)/)?.[1]))).toHaveLength(1);
        expect(found[0]).toContain("never extractable");
      }
      expect(output).toContain(`ID:         ${await idOf("ec1")}`);
    });

    it("shows a key that another door makes, and no longer one that it deletes", async () => {
      await lab.thornkey.keys.create({ name: "passing", type: "p256", protection: "wrapped" });
      expect((await lab.tool("-O")).output).toContain("label:      passing");
      await lab.thornkey.key("passing").delete();
      expect((await lab.tool("-O")).output).not.toContain("passing");
    });

    it.each(["ec1", "inside"])("signs a digest with %s", async (name) => {
      const message = randomBytes(100);
      lab.file("digest", createHash("sha256").update(message).digest());
      const format = ["--signature-format", "openssl"];
      await lab.tool("--sign", "-m", "ECDSA", "--id", await idOf(name), "-i", "digest", "-o", "sig", ...format);
      expect(
        createVerify("sha256")
          .update(message)
          .verify(await publicKeyOf(name), read("sig")),
      ).toBe(true);
    });

    it.each(["SHA256-RSA-PKCS", "SHA512-RSA-PKCS"])("signs a message with %s", async (mechanism) => {
      const message = randomBytes(5000);
      lab.file("message", message);
      await lab.tool("--sign", "-m", mechanism, "--id", await idOf("rsa1"), "-i", "message", "-o", "sig");
      expect(verify(mechanism.slice(0, 6), message, await publicKeyOf("rsa1"), read("sig"))).toBe(true);
    });
  });

  describe.runIf(pkcs11Tool)("that pkcs11-tool makes keys in", () => {
    beforeAll(async () => {
      await lab.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "made-ec", "--id", "01");
      await lab.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "made rsa", "--id", "02");
    });

    it("passes its whole test", async () => {
      const { output } = await lab.tool("--login", "--test");
      expect(output).toContain("No errors");
      for (const what of ["RSA-X-509: OK", "SHA1-RSA-PKCS: OK", "RSA-PKCS-OAEP"]) expect(output).toContain(what);
    });

    it("keeps label and id as they were given, and the name as the vault has it", async () => {
      const { output } = await lab.tool("-O", "--type", "privkey");
      expect(output).toMatch(/label: +made rsa\n +ID: +02\n/);
      expect((await lab.thornkey.key("made-rsa").show()).type).toBe("rsa2048");
    });

    it("takes a certificate, shows it beside its key, and deletes both", async () => {
      lab.file("self.cnf", ["[req]", "distinguished_name=dn", "prompt=no", "[dn]", "CN=device", ""].join("\n"));
      const made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-config",
        "self.cnf",
      ];
      await lab.run("openssl", [...made, "-keyout", "own.key", "-outform", "DER", "-out", "own.crt"]);
      await lab.run("openssl", ["ec", "-in", "own.key", "-outform", "DER", "-out", "own.der"]);
      await lab.tool("--write-object", "own.der", "--type", "privkey", "--label", "own", "--usage-sign");
      await lab.tool("--write-object", "own.crt", "--type", "cert", "--label", "own certificate");
      const id = await idOf("own");
      const { output } = await lab.tool("-O", "--type", "cert");
      expect(output).toContain("own certificate");
      expect(output).toContain(id);
      await lab.tool("--read-object", "--type", "cert", "--id", id, "-o", "back.crt");
      expect(read("back.crt")).toEqual(read("own.crt"));
      await lab.tool("--delete-object", "--type", "cert", "--id", id);
      await lab.tool("--delete-object", "--type", "privkey", "--id", id);
      expect((await lab.tool("-O")).output).not.toContain("own");
    });
  });

  it.runIf(p11tool)("is listed by p11tool", async () => {
    const { status, output } = await lab.run("p11tool", ["--provider", CLIENT_MODULE ?? "", "--list-all"]);
    expect(status).toBe(0);
    expect(output).toContain("token=thornkey");
    for (const name of ["ec1", "rsa1", "ec2"]) expect(output).toContain(`object=${name};type=private`);
  });

  describe.runIf(engine)("through OpenSSL's engine", () => {
    const uri = (name: string) => `pkcs11:token=thornkey;object=${name};type=private`;
    const asEngine = (...args: string[]) =>
      lab.run("openssl", [...args.slice(0, 1), "-engine", "pkcs11", ...args.slice(1)], { OPENSSL_CONF: "engine.cnf" });

    beforeAll(() => {
      lab.file(
        "engine.cnf",
        [
          ...["openssl_conf=init", "[init]", "engines=eng", "[eng]", "pkcs11=p11", "[p11]", "engine_id=pkcs11"],
          ...[`MODULE_PATH=${CLIENT_MODULE}`, "init=0", "[req]", "distinguished_name=dn", "[dn]", ""],
        ].join("\n"),
      );
    });

    it.each(["ec1", "inside", "ec2", "rsa1"])("requests a certificate for %s", async (name) => {
      const subject = ["-subj", "/CN=device"];
      const made = await asEngine("req", "-new", "-keyform", "engine", "-key", uri(name), ...subject, "-out", "req");
      expect(made).toMatchObject({ status: 0 });
      const checked = await lab.run("openssl", ["req", "-verify", "-noout", "-in", "req", "-config", "engine.cnf"]);
      expect(checked.output).toContain("verify OK");
    });

    it("signs with RSA-PSS, as TLS 1.3 does", async () => {
      lab.file("message", randomBytes(1000));
      const padding = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
      const made = await asEngine(
        ...["dgst", "-sha256", "-keyform", "engine", ...padding, "-sign", uri("rsa1"), "-out", "sig", "message"],
      );
      expect(made).toMatchObject({ status: 0 });
      lab.file("rsa.pem", (await publicKeyOf("rsa1")).export({ format: "pem", type: "spki" }));
      const check = ["dgst", "-sha256", ...padding, "-verify", "rsa.pem", "-signature", "sig", "message"];
      expect((await lab.run("openssl", check)).output).toContain("Verified OK");
    });
  });
});
