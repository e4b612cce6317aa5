/** Requests and what certificates are made of: made with keys of the vault, read and checked by programs of others. */
import { generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type CertificateAlgorithm,
  createRequest,
  createSelfSigned,
  describeCertificate,
  documentsIn,
  encodeName,
  pem,
  readCertificate,
  readRequest,
  type Signer,
  signerOf,
} from "../../src/trust/index.ts";
import { signRevocationList } from "../../src/trust/x509/revocation-list.ts";
import { isThere, run } from "../programs/device.ts";
import { openssl, openTrustLab, SIGNING_KEYS, type TrustLab } from "./lab.ts";
import { x509 } from "./peculiar.ts";

const missing = ["openssl", "certtool"].filter((program) => !isThere(program));

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
