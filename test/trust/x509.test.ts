/** Requests, certificates and lists of revoked ones: made with keys of the vault, read and checked by programs of others. */
import { generateKeyPairSync, sign } from "node:crypto";
import { chmodSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeyInfo } from "../../src/client/index.ts";
import {
  allAttached,
  attach,
  attachedTo,
  type CertificateAlgorithm,
  certificateOf,
  createAuthority,
  createRequest,
  createRevocationList,
  createSelfSigned,
  describeCertificate,
  documentsIn,
  encodeName,
  issue,
  ledgerOf,
  pem,
  readCertificate,
  readRequest,
  renew,
  revoke,
  type Signer,
  signerOf,
} from "../../src/trust/index.ts";
import { signRevocationList } from "../../src/trust/x509/revocation-list.ts";
import { isThere, run } from "../programs/device.ts";
import { openssl, openTrustLab, SIGNING_KEYS, type TrustLab } from "./lab.ts";
import { x509 } from "./peculiar.ts";

const missing = ["openssl", "certtool"].filter((program) => !isThere(program));
const DAY = 86_400_000;
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

describe.skipIf(missing.length > 0)(`a request (${missing.join(", ") || "all peers there"})`, () => {
  it.each(algorithms)(
    "by %s (%s) is taken by OpenSSL, GnuTLS and others, and says what it should",
    async (name, algorithm) => {
      const names = [
        "dns:pump7.example.com",
        "ip:192.0.2.7",
        "ip:2001:db8::7",
        "email:a@b.example",
        "uri:https://a.example/b",
      ];
      const usages = ["digitalSignature", "clientAuth"] as const;
      const subject = "CN=pump 7,O=Acme\\, Inc.,C=DE";
      const der = await createRequest(await signerOf(lab.vault, name), { subject, names, usages, algorithm });
      const path = lab.file("request.pem", pem("CERTIFICATE REQUEST", der));
      const { status, out, err } = await openssl(
        "req",
        "-in",
        path,
        "-verify",
        "-noout",
        "-text",
        "-nameopt",
        "RFC2253",
      );
      expect(status, err).toBe(0);
      expect(err).toContain("verify OK");
      expect(out).toContain("Subject: CN=pump 7,O=Acme\\, Inc.,C=DE");
      expect(out).toContain("DNS:pump7.example.com, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7");
      expect(out).toContain("email:a@b.example, URI:https://a.example/b");
      expect(out).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\s/);
      expect(out).toMatch(/X509v3 Extended Key Usage:\s+TLS Web Client Authentication/);
      if (name !== "koblitz") {
        const gnutls = await run("certtool", ["--crq-info", "--infile", path]);
        expect(gnutls.status, gnutls.err).toBe(0);
        expect(gnutls.out).toContain("Self signature: verified");
      }
      expect(new x509.Pkcs10CertificateRequest(der).subject).toBe("C=DE, O=Acme\\, Inc., CN=pump 7");
      expect(readRequest(der)).toMatchObject({ subject: encodeName(subject), names, purposes: ["clientAuth"] });
    },
  );

  it("by somebody else's program is taken", async () => {
    const pss = ["-sigopt", "rsa_padding_mode:pss"];
    for (const more of [[], pss, [...pss, "-sigopt", "rsa_pss_saltlen:-1"], ["-sha512"]]) {
      const kind = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        "/CN=old",
        "-addext",
        "subjectAltName=DNS:old",
      ];
      const made = await openssl("req", "-new", ...kind, ...more);
      const [der = new Uint8Array()] = documentsIn("CERTIFICATE REQUEST", Buffer.from(made.out));
      const pssWithMaximalSalt = more === pss;
      if (pssWithMaximalSalt)
        expect(() => readRequest(der)).toThrow(expect.objectContaining({ code: "NOT_SUPPORTED" }));
      else expect(readRequest(der).names).toEqual(["dns:old"]);
    }
  });

  it("is refused when a bit of it is another, or its key is another's", async () => {
    const der = await createRequest(await signerOf(lab.vault, "wrapped"), { subject: "CN=me", names: ["dns:me"] });
    const other = await createRequest(await signerOf(lab.vault, "silicon"), { subject: "CN=me", names: ["dns:me"] });
    for (let index = 0; index < der.length; index += 3) {
      const changed = der.slice();
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(() => readRequest(changed), `byte ${index}`).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/MALFORMED|NOT_SUPPORTED/) }),
      );
    }
    const [mine, theirs] = [readRequest(der).publicKey, readRequest(other).publicKey];
    const stolen = Buffer.from(
      Buffer.from(der).toString("hex").replace(Buffer.from(mine).toString("hex"), Buffer.from(theirs).toString("hex")),
      "hex",
    );
    expect(() => readRequest(stolen)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  });

  it("needs a subject or a name, and a key that signs", async () => {
    const signer = await signerOf(lab.vault, "wrapped");
    await expect(createRequest(signer, { subject: "" })).rejects.toMatchObject({ code: "USAGE" });
    const nameless = await createRequest(signer, { subject: "", names: ["dns:only"] });
    expect(readRequest(nameless).names).toEqual(["dns:only"]);
    await lab.device.makeKey("exchange", "x25519");
    await expect(signerOf(lab.vault, "exchange")).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await expect(createRequest(signer, { subject: "CN=a", algorithm: "ed25519" })).rejects.toMatchObject({
      code: "USAGE",
    });
  });
});

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

describe("what is no certificate", () => {
  it("is refused with an error of its own, whichever byte is another", async () => {
    const { der } = await createSelfSigned(lab.vault, "koblitz", { subject: "CN=a", names: ["dns:a", "ip:::1"] });
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (index, bits, cut) => {
        const changed = cut ? der.slice(0, index) : der.slice();
        if (!cut) changed[index] = (changed[index] ?? 0) ^ bits;
        try {
          describeCertificate(readCertificate(changed));
        } catch (error) {
          expect(error).toMatchObject({ code: "MALFORMED" });
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe.skipIf(missing.length > 0)("a list of revoked certificates", () => {
  it("may be long", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const signer: Signer = {
      ...{
        name: "x",
        id: "x",
        type: "p256",
        publicKey: new Uint8Array(publicKey.export({ type: "spki", format: "der" })),
      },
      sign: async (message) => new Uint8Array(sign("sha256", message, privateKey)),
    };
    const revoked = Array.from({ length: 4000 }, (_, index) => ({
      ...{
        serial: (index + 256).toString(16).padStart(40, "40"),
        at: Date.UTC(2026, 0, 1),
        reason: "superseded" as const,
      },
    }));
    const list = await signRevocationList(signer, "ecdsa-sha256", {
      ...{ issuer: encodeName("CN=x"), authorityKeyId: new Uint8Array(20), number: 70_000 },
      ...{ thisUpdate: Date.UTC(2026, 0, 1), nextUpdate: Date.UTC(2051, 0, 1), revoked },
    });
    expect(list.length).toBeGreaterThan(65_536);
    const { out, err } = await openssl("crl", "-noout", "-text", "-in", lab.file("long.pem", pem("X509 CRL", list)));
    expect(out.match(/Serial Number/g), err).toHaveLength(4000);
    expect(out).toContain("Next Update: Jan  1 00:00:00 2051 GMT");
    expect(out).toMatch(/CRL Number:\s+70000/);
  });

  it("is not made with a signature that is wrong", async () => {
    const { publicKey } = generateKeyPairSync("ed25519");
    const signer: Signer = {
      ...{
        name: "x",
        id: "x",
        type: "ed25519",
        publicKey: new Uint8Array(publicKey.export({ type: "spki", format: "der" })),
      },
      sign: async () => new Uint8Array(64),
    };
    await expect(createRequest(signer, { subject: "CN=x" })).rejects.toMatchObject({ code: "FAILED" });
  });
});

describe.skipIf(missing.length > 0)("a certificate that is kept with a key", () => {
  it("is the key's own, with its chain in order, however the file has it", async () => {
    for (const name of ["kept-ca", "kept"]) await lab.device.makeKey(name, "p256");
    const [root] = await createAuthority(lab.vault, "kept-ca", { subject: "CN=kept-ca" });
    const [leaf] = await issue(lab.vault, "kept-ca", await requestOf("kept"), { profile: "device" });
    const shuffled = `a note\n${pem("CERTIFICATE", root!.der)}\nanother\n${pem("CERTIFICATE", leaf!.der)}`;
    await attach(lab.vault, "kept", Buffer.from(shuffled));
    expect(await certificateOf(lab.vault, await show("kept"))).toMatchObject({ value: leaf!.der, chain: [root!.der] });
    await attach(lab.vault, "kept", leaf!.der);
    const [one, ...more] = await attachedTo(lab.vault, await show("kept"));
    expect([one!.value, one!.chain, more]).toEqual([leaf!.der, [], []]);
  });

  it("is refused when it is another's, is none, or brings strangers", async () => {
    const { certificate } = await certificateOf(lab.vault, await show("kept"));
    await expect(attach(lab.vault, "wrapped", certificate.der)).rejects.toMatchObject({ code: "USAGE" });
    expect(await attachedTo(lab.vault, await show("wrapped"))).toEqual([]);
    await attach(lab.vault, "wrapped", certificate.der, { force: true, name: "forced" });
    expect((await attachedTo(lab.vault, await show("wrapped"))).map(({ name }) => name)).toEqual([
      expect.stringMatching(/forced$/),
    ]);
    const stranger = await createSelfSigned(lab.vault, "p384", { subject: "CN=stranger" });
    const both = Buffer.concat([certificate.der, stranger.der]);
    await expect(attach(lab.vault, "kept", both)).rejects.toMatchObject({ code: "USAGE" });
    for (const junk of [
      "",
      "junk",
      "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
      "\x30\x03\x02\x01",
    ]) {
      await expect(attach(lab.vault, "kept", Buffer.from(junk, "latin1"))).rejects.toMatchObject({ code: "MALFORMED" });
    }
  });

  it.each([...SIGNING_KEYS])("certifies itself with %s, and others read it", async (name) => {
    const { der } = await createSelfSigned(lab.vault, name, { subject: `CN=${name}`, names: ["dns:self.example"] });
    const path = lab.certificates("self.pem", der);
    const verified = await openssl("verify", "-CAfile", path, "-verify_hostname", "self.example", path);
    expect(verified.status, verified.err).toBe(0);
    expect(new x509.X509Certificate(der).subject).toBe(`CN=${name}`);
  });

  it("is renewed in its place: the same name, key and extensions, a new serial, a later end", async () => {
    const key = await show("kept");
    const before = await certificateOf(lab.vault, key);
    const [made, root] = await renew(lab.vault, "kept", { now: Date.now() + 10 * DAY });
    const after = await certificateOf(lab.vault, key);
    expect(after.id).toBe(before.id);
    expect(after.value).toEqual(made!.der);
    expect(after.chain).toEqual([root!.der]);
    expect(made!.subject).toEqual(before.certificate.subject);
    expect(made!.publicKey).toEqual(before.certificate.publicKey);
    expect([...made!.extensions]).toEqual([...before.certificate.extensions]);
    expect(made!.serial).not.toBe(before.certificate.serial);
    expect(made!.notBefore).toBeGreaterThan(before.certificate.notBefore);
    const files = [lab.certificates("renewed-ca.pem", root!.der), lab.certificates("renewed.pem", made!.der)];
    const later = String(Math.floor(Date.now() / 1000) + 11 * 86_400);
    expect((await openssl("verify", "-attime", later, "-CAfile", ...files)).status).toBe(0);
    await revoke(lab.vault, await show("kept-ca"), made!.serial, "superseded");
    await expect(renew(lab.vault, "kept")).rejects.toMatchObject({ code: "USAGE" });
  });

  it("of an authority is renewed, and what it issued before stays good", async () => {
    const [leaf] = await issue(lab.vault, "kept-ca", await requestOf("kept"), { profile: "device", days: 30 });
    const [again] = await renew(lab.vault, "kept-ca");
    const files = [lab.certificates("again.pem", again!.der), lab.certificates("leaf-of-old.pem", leaf!.der)];
    expect((await openssl("verify", "-x509_strict", "-CAfile", ...files)).status).toBe(0);
  });

  it("issued by somebody else is not renewed here", async () => {
    const certificate = await openssl(
      "req",
      "-x509",
      "-newkey",
      "ed25519",
      "-nodes",
      "-keyout",
      lab.device.path("ca.key"),
      "-subj",
      "/CN=theirs",
      "-out",
      lab.device.path("ca.crt"),
    );
    expect(certificate.status, certificate.err).toBe(0);
    const csr = lab.file(
      "theirs.csr",
      pem("CERTIFICATE REQUEST", await createRequest(await signerOf(lab.vault, "p521"), { subject: "CN=p521" })),
    );
    const issued = await openssl(
      "x509",
      "-req",
      "-in",
      csr,
      "-CA",
      lab.device.path("ca.crt"),
      "-CAkey",
      lab.device.path("ca.key"),
      "-days",
      "9",
    );
    await attach(lab.vault, "p521", Buffer.from(issued.out + readFileSync(lab.device.path("ca.crt"), "utf8")));
    await expect(renew(lab.vault, "p521")).rejects.toMatchObject({ code: "USAGE" });
    expect((await allAttached(lab.vault)).some(({ keyName }) => keyName === "p521" || keyName.endsWith("/p521"))).toBe(
      true,
    );
  });

  it("has its times in the form of its century", async () => {
    const edge = Date.UTC(2049, 11, 31);
    const made = await createSelfSigned(lab.vault, "rsa", { subject: "CN=edge", days: 2, now: edge });
    const dates = await openssl("x509", "-noout", "-dates", "-in", lab.certificates("edge.pem", made.der));
    expect(dates.out).toContain("notBefore=Dec 30 23:55:00 2049 GMT");
    expect(dates.out).toContain("notAfter=Jan  2 00:00:00 2050 GMT");
    const parsed = await openssl("asn1parse", "-in", lab.device.path("edge.pem"));
    expect(parsed.out).toMatch(/UTCTIME\s+:491230235500Z/);
    expect(parsed.out).toMatch(/GENERALIZEDTIME\s+:20500102000000Z/);
    expect(readCertificate(made.der)).toMatchObject({ notBefore: edge - 300_000, notAfter: edge + 2 * DAY });
  });
});
