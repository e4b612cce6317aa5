/** Documents whose bytes are known: of one key, one time, one serial, with a signature that is always the same. */
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { expect, it } from "vitest";
import type { Signer } from "../../src/trust/index.ts";
import { signCertificate } from "../../src/trust/x509/certificate.ts";
import { extensionsFor, keyIdOf } from "../../src/trust/x509/extensions.ts";
import { encodeName } from "../../src/trust/x509/names.ts";
import { createRequest } from "../../src/trust/x509/request.ts";
import { signRevocationList } from "../../src/trust/x509/revocation-list.ts";
import { publicKeyOf } from "../../src/trust/x509/schema.ts";

const seed = createHash("sha256").update("seed").digest();
const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
const key = createPrivateKey({ key: Buffer.concat([prefix, seed]), format: "der", type: "pkcs8" });
const publicKey = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
const signer: Signer = {
  ...{ name: "k", id: "k", type: "ed25519", publicKey },
  sign: async (message) => new Uint8Array(sign(null, message, key)),
};
const digestOf = (der: Uint8Array) => createHash("sha256").update(der).digest("hex");
const [subject, issuer] = [
  "CN=Ünïcode,serialNumber=12,DC=example,UID=u+OU=b,emailAddress=a@b.c",
  "CN=pump 7,O=Acme\\, Inc.,C=DE",
];
const names = ["dns:pump7.local", "ip:192.0.2.7", "ip:2001:db8::7", "email:a@b.c", "uri:https://x.example/y"];

it("a request, a certificate and a list have the bytes they always had", async () => {
  const request = await createRequest(signer, { subject, names, usages: ["digitalSignature", "clientAuth"] });
  const certificate = await signCertificate(signer, "ed25519", {
    ...{ serial: Uint8Array.of(0x80, 1), issuer: encodeName(issuer), subject: encodeName(subject), publicKey },
    ...{ notBefore: Date.UTC(2049, 11, 31), notAfter: Date.UTC(2050, 0, 1) },
    extensions: extensionsFor({
      ...{ authority: { pathLength: 0 }, usages: ["keyCertSign", "cRLSign", "decipherOnly"], names },
      ...{ subjectKeyId: keyIdOf(publicKey), authorityKeyId: keyIdOf(publicKey), crlUrl: "http://x.example/crl" },
    }),
  });
  const list = await signRevocationList(signer, "ed25519", {
    ...{ issuer: encodeName(issuer), authorityKeyId: keyIdOf(publicKey), number: 128 },
    ...{ thisUpdate: 1.7e12, nextUpdate: 1.8e12, revoked: [{ serial: "81", at: 1e12, reason: "keyCompromise" }] },
  });
  expect([request, certificate, list].map(digestOf)).toEqual(DIGESTS);
});

it("a key that would be written in other bytes than it has is refused", () => {
  const trailing = new Uint8Array([...publicKey, 0]);
  for (const odd of [trailing, publicKey.with(1, 0x2b), new Uint8Array(0)]) {
    expect(() => publicKeyOf(odd)).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  }
});

/** SHA-256, of what was written before and after the schemas, and read by openssl and certtool in the other tests. */
const DIGESTS = [
  "0997fbcd66c72cbd378991796a398f39f422be9affdc88920ad0c2b70fdc022f",
  "89b980e3e0bac03c78f8c020b0013939a95eb4a4e69acd6561e36de0ebd9aa05",
  "8d319980a805b6512440cfc10b760a1b796e5f37547ec173bfdc7877113c251c",
];
