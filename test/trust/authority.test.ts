/** An authority whose key is in the vault: what it issues and revokes is checked by programs of others. */
import { chmodSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeyInfo } from "../../src/client/index.ts";
import {
  attachedTo,
  type CertificateAlgorithm,
  certificateOf,
  createAuthority,
  createRequest,
  createRevocationList,
  createSelfSigned,
  documentsIn,
  issue,
  ledgerOf,
  pem,
  readRequest,
  revoke,
  signerOf,
} from "../../src/trust/index.ts";
import { isThere, run } from "../programs/device.ts";
import { openssl, openTrustLab, SIGNING_KEYS, type TrustLab } from "./lab.ts";
import { x509 } from "./peculiar.ts";

const missing = ["openssl", "certtool"].filter((program) => !isThere(program));
const ME = [{ who: `uid:${process.getuid?.() ?? 0}`, rights: ["use" as const, "manage" as const] }];

let lab: TrustLab;
beforeAll(async () => {
  lab = await openTrustLab();
});
afterAll(() => lab?.close());

const algorithms: readonly (readonly [string, CertificateAlgorithm | undefined])[] = [
  ...SIGNING_KEYS.map(([name]) => [name, undefined] as const),
  ...(["rsa-sha512", "rsa-pss-sha256", "rsa-pss-sha384", "rsa-pss-sha512"] as const).map(
    (name) => ["rsa", name] as const,
  ),
];
const show = (name: string): Promise<KeyInfo> => lab.vault.keys.show(name);
const requestOf = async (name: string, options: Partial<Parameters<typeof createRequest>[1]> = {}) =>
  readRequest(await createRequest(await signerOf(lab.vault, name), { subject: `CN=${name}`, ...options }));

describe.skipIf(missing.length > 0)("an authority", () => {
  it.each(algorithms)("of %s (%s) issues what OpenSSL and GnuTLS take", async (name, algorithm) => {
    const ca = `ca-${name}-${algorithm ?? "default"}`;
    const type = SIGNING_KEYS.find(([key]) => key === name)?.[1] ?? "p256";
    await lab.device.makeKey(ca, type, name === "silicon" ? "resident" : "wrapped");
    const [root] = await createAuthority(lab.vault, ca, { subject: `CN=${ca},O=Acme`, algorithm });
    const issued = await issue(lab.vault, ca, await requestOf("wrapped", { names: ["dns:a.example"] }), {
      profile: "server",
      algorithm,
    });
    const [leaf] = issued;
    const [rootFile, leafFile] = [lab.certificates("root.pem", root!.der), lab.certificates("leaf.pem", leaf!.der)];
    const args = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", "a.example", "-CAfile", rootFile];
    const verified = await openssl("verify", ...args, leafFile);
    expect(verified.status, verified.err).toBe(0);
    if (name !== "koblitz") {
      const gnutls = await run("certtool", ["--verify", "--load-ca-certificate", rootFile, "--infile", leafFile]);
      expect(gnutls.out + gnutls.err).toContain("Chain verification output: Verified. The certificate is trusted.");
    }
    expect(issued.map(({ der }) => der)).toEqual([leaf!.der, root!.der]);
  });

  describe("with one below it", () => {
    let chain: string;
    let root: string;
    beforeAll(async () => {
      for (const name of ["root", "below", "leaf"]) await lab.device.makeKey(name, "p256");
      const [top] = await createAuthority(lab.vault, "root", { subject: "/O=Acme/CN=Acme Root" });
      const [middle] = await createAuthority(lab.vault, "below", {
        subject: "/O=Acme/CN=Acme Devices",
        parent: "root",
      });
      [root, chain] = [lab.certificates("top.pem", top!.der), lab.certificates("middle.pem", middle!.der)];
    });
    const verify = (file: string, ...more: string[]) =>
      openssl("verify", "-x509_strict", ...more, "-CAfile", root, "-untrusted", chain, file);

    it("issues through the one below, and OpenSSL goes up the chain", async () => {
      const issued = await issue(lab.vault, "below", await requestOf("leaf"), { profile: "device" });
      expect(issued).toHaveLength(3);
      expect((await verify(lab.certificates("device.pem", issued[0]!.der), "-purpose", "sslclient")).status).toBe(0);
      expect((await verify(lab.certificates("device.pem", issued[0]!.der), "-purpose", "sslserver")).status).not.toBe(
        0,
      );
    });

    it("says in each profile what RFC 5280 wants", async () => {
      const said = async (profile: "device" | "server" | "client", name = "leaf") => {
        const [made] = await issue(lab.vault, "below", await requestOf(name, { names: ["dns:a.example"] }), {
          profile,
        });
        return (await openssl("x509", "-noout", "-text", "-in", lab.certificates("said.pem", made!.der))).out;
      };
      const device = await said("device");
      expect(device).toContain("Version: 3 (0x2)");
      expect(device).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
      expect(device).toMatch(/Key Usage: critical\s+Digital Signature\n/);
      expect(device).toMatch(/Extended Key Usage:\s+TLS Web Client Authentication\n/);
      expect(await said("server")).toMatch(/Extended Key Usage:\s+TLS Web Server Authentication\n/);
      expect(await said("server", "rsa")).toMatch(/Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
      const ca = (await openssl("x509", "-noout", "-text", "-in", chain)).out;
      expect(ca).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
      expect(ca).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
      const [keyId] = /Subject Key Identifier:\s+(\S+)/.exec(ca)?.slice(1) ?? [];
      expect(device).toMatch(new RegExp(`Authority Key Identifier:\\s+${keyId}`));
    });

    it("has nobody below one that may have none", async () => {
      await lab.device.makeKey("third", "p256");
      const wish = { subject: "CN=third", parent: "below" };
      await expect(createAuthority(lab.vault, "third", wish)).rejects.toMatchObject({ code: "USAGE" });
      await expect(
        createAuthority(lab.vault, "third", { ...wish, parent: "root", pathLength: 1 }),
      ).rejects.toMatchObject({
        code: "USAGE",
      });
      expect(await attachedTo(lab.vault, await show("third"))).toEqual([]);
    });

    it("certifies no key that is weak, and no name that would become another", async () => {
      const words = (more: string[]) => ["req", "-new", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=weak", ...more];
      for (const more of [
        ["-newkey", "rsa:1024"],
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"],
        ["-newkey", "rsa:2048", "-addext", "subjectAltName=otherName:1.2.3;UTF8:x"],
        ["-newkey", "rsa:2048", "-addext", "subjectAltName=DER:300382 01fc".replace(" ", "")],
      ]) {
        const [der = new Uint8Array()] = documentsIn(
          "CERTIFICATE REQUEST",
          Buffer.from((await openssl(...words(more))).out),
        );
        const request = readRequest(der);
        await expect(issue(lab.vault, "below", request, { profile: "device" }), `${more}`).rejects.toMatchObject({
          code: "USAGE",
        });
      }
    });

    it("certifies nobody as an authority who only asks for it", async () => {
      const args = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        "/CN=evil",
      ];
      const made = await openssl(
        "req",
        "-new",
        ...args,
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=keyCertSign",
      );
      const [der = new Uint8Array()] = documentsIn("CERTIFICATE REQUEST", Buffer.from(made.out));
      const [issued] = await issue(lab.vault, "below", readRequest(der), { profile: "device" });
      expect(issued!.authority).toBeUndefined();
      expect(issued!.keyUsages).toEqual(["digitalSignature"]);
    });

    it("never issues longer than it holds itself, nor longer than the profile allows", async () => {
      const request = await requestOf("leaf", { names: ["dns:a"] });
      const { certificate } = await certificateOf(lab.vault, await show("below"));
      const [issued] = await issue(lab.vault, "below", request, {
        ...{ profile: "device", days: 7300, now: certificate.notBefore + 1000 },
      });
      expect(issued!.notAfter).toBe(certificate.notAfter);
      expect(issued!.notBefore).toBe(certificate.notBefore);
      await expect(issue(lab.vault, "below", request, { profile: "server", days: 399 })).rejects.toMatchObject({
        code: "USAGE",
      });
      const after = { profile: "server", now: certificate.notAfter } as const;
      await expect(issue(lab.vault, "below", request, after)).rejects.toMatchObject({ code: "USAGE" });
      const before = { profile: "server", now: certificate.notBefore - 1 } as const;
      await expect(issue(lab.vault, "below", request, before)).rejects.toMatchObject({ code: "USAGE" });
    });

    it("certifies nobody as a root, no server without a name, and not with a key that is no authority", async () => {
      const request = await requestOf("leaf");
      await expect(issue(lab.vault, "root", request, { profile: "root" })).rejects.toMatchObject({ code: "USAGE" });
      await expect(issue(lab.vault, "root", request, { profile: "server" })).rejects.toMatchObject({ code: "USAGE" });
      await expect(issue(lab.vault, "leaf", request, { profile: "device" })).rejects.toMatchObject({
        code: "FILE_NOT_FOUND",
      });
      await createSelfSigned(lab.vault, "leaf", { subject: "CN=leaf" });
      await expect(issue(lab.vault, "leaf", request, { profile: "device" })).rejects.toMatchObject({ code: "USAGE" });
      await expect(createAuthority(lab.vault, "root", { subject: "CN=again" })).rejects.toMatchObject({
        code: "USAGE",
      });
    });

    it("writes down whatever it gives out, with a serial of 20 bytes that is never the same", async () => {
      const serials = new Set<string>();
      for (let time = 0; time < 10; time++) {
        const [issued] = await issue(lab.vault, "below", await requestOf("leaf"), { profile: "client" });
        serials.add(issued!.serial);
        expect(issued!.serial).toMatch(/^[4-7][0-9a-f]{39}$/);
      }
      expect(serials.size).toBe(10);
      const ledger = await ledgerOf(lab.vault, await show("below"));
      expect(ledger.map(({ serial }) => serial)).toEqual(expect.arrayContaining([...serials]));
      const lines: string[] = [];
      for await (const line of lab.vault.journal.read()) lines.push(line);
      for (const serial of serials)
        expect(lines.some((line) => line.includes(`issued.${serial} was stored`))).toBe(true);
    });

    it("revokes, for a reason, once, and its list goes up in number", async () => {
      const request = await requestOf("leaf");
      const [good, bad, held] = await Promise.all(
        [1, 2, 3].map(async () => (await issue(lab.vault, "below", request, { profile: "device" }))[0]!),
      );
      const below = await show("below");
      const numberOf = async (list: Uint8Array) => {
        const path = lab.file("list.pem", pem("X509 CRL", list));
        return { path, text: (await openssl("crl", "-noout", "-text", "-in", path)).out };
      };
      const first = await numberOf(await createRevocationList(lab.vault, "below"));
      await revoke(lab.vault, below, bad!.serial.toUpperCase().replaceAll(/..(?!$)/g, "$&:"), "keyCompromise");
      await revoke(lab.vault, below, held!.serial, "certificateHold");
      await expect(revoke(lab.vault, below, bad!.serial, "superseded")).rejects.toMatchObject({ code: "USAGE" });
      await expect(revoke(lab.vault, below, "00ff", "superseded")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
      const root = await show("root");
      await expect(revoke(lab.vault, root, good!.serial, "superseded")).rejects.toMatchObject({
        code: "FILE_NOT_FOUND",
      });
      await revoke(lab.vault, below, held!.serial, "cessationOfOperation");
      await lab.device.restartVault("SIGKILL");
      const list = await createRevocationList(lab.vault, "below", { days: 3 });
      const second = await numberOf(list);
      const number = (text: string) => Number(/CRL Number:\s+(\d+)/.exec(text)?.[1]);
      expect(number(second.text)).toBeGreaterThan(number(first.text));
      expect(second.text).toContain("Version 2 (0x1)");
      expect(second.text).toMatch(/Reason Code:\s+Key Compromise/);
      expect(second.text).toMatch(/Reason Code:\s+Cessation Of Operation/);
      const revocations = new x509.X509Crl(list).entries.map(({ serialNumber }) => serialNumber.toLowerCase());
      expect(revocations).toEqual(expect.arrayContaining([bad!.serial, held!.serial]));
      expect(revocations).not.toContain(good!.serial);
      const check = async (der: Uint8Array) =>
        verify(lab.certificates("checked.pem", der), "-crl_check", "-CRLfile", second.path);
      expect((await check(good!.der)).status).toBe(0);
      expect((await check(bad!.der)).err).toContain("certificate revoked");
      const gnutls = await run("certtool", ["--crl-info", "--infile", second.path]);
      expect(gnutls.out, gnutls.err).toContain(
        `CRL Number (not critical): ${number(second.text).toString(16).padStart(2, "0")}`,
      );
    });

    it.skipIf(process.getuid?.() !== 0)("revokes nothing because somebody who only sees the key says so", async () => {
      const observing = { allow: [{ who: "uid:4711", rights: ["observe" as const] }] };
      await lab.vault.keys.create({ name: "observed", type: "p256", policy: observing });
      await lab.vault.keys.policy("observed", { policy: { allow: [...ME, ...observing.allow] } });
      await createAuthority(lab.vault, "observed", { subject: "CN=observed" });
      const [issued] = await issue(lab.vault, "observed", await requestOf("leaf"), { profile: "device" });
      const key = await show("observed");
      chmodSync(lab.device.folder, 0o755);
      const script = `
        const { connect } = await import(${JSON.stringify(new URL("../../src/client/index.ts", import.meta.url).href)});
        await using vault = await connect({ run: ${JSON.stringify(lab.device.run)} });
        const value = new Uint8Array(1);
        await vault.objects.create({ name: "revoked.${issued!.serial}", class: "data", value, key: "${key.id}" });
        await vault.objects.create({ name: "observed", class: "certificate", value, key: "${key.id}", application: "x509-certificate" });`;
      const words = ["--reuid=4711", "--clear-groups", process.execPath, "--input-type=module", "-e", script];
      const planted = await run("setpriv", words);
      expect(planted.status, planted.err).toBe(0);
      expect(new x509.X509Crl(await createRevocationList(lab.vault, "observed")).entries).toEqual([]);
      expect((await ledgerOf(lab.vault, key)).map(({ kind }) => kind)).toEqual(["issued"]);
      expect(await attachedTo(lab.vault, key)).toHaveLength(1);
      expect(await issue(lab.vault, "observed", await requestOf("leaf"), { profile: "device" })).toHaveLength(2);
    });
  });
});
