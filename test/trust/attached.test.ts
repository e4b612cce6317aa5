/** Certificates that are kept with keys: which, in what order, renewed in their place. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeyInfo } from "../../src/client/index.ts";
import {
  allAttached,
  attach,
  attachedTo,
  certificateOf,
  createAuthority,
  createRequest,
  createSelfSigned,
  issue,
  pem,
  readCertificate,
  readRequest,
  renew,
  revoke,
  signerOf,
} from "../../src/trust/index.ts";
import { isThere } from "../programs/device.ts";
import { openssl, openTrustLab, SIGNING_KEYS, type TrustLab } from "./lab.ts";
import { x509 } from "./peculiar.ts";

const missing = ["openssl", "certtool"].filter((program) => !isThere(program));
const DAY = 86_400_000;

let lab: TrustLab;
beforeAll(async () => {
  lab = await openTrustLab();
});
afterAll(() => lab?.close());

const show = (name: string): Promise<KeyInfo> => lab.vault.keys.show(name);
const requestOf = async (name: string, options: Partial<Parameters<typeof createRequest>[1]> = {}) =>
  readRequest(await createRequest(await signerOf(lab.vault, name), { subject: `CN=${name}`, ...options }));

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
    const junk = {
      name: "junk",
      class: "certificate" as const,
      value: new Uint8Array(3),
      application: "x509-certificate",
    };
    await lab.vault.objects.create({ ...junk, key: "kept" });
    expect(await attachedTo(lab.vault, await show("kept"))).toHaveLength(1);
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
