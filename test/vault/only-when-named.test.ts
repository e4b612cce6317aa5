/** What undoes other algorithms of the same key happens only where the key's policy names it. */
import { createHash, createPublicKey, verify as verifies } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Algorithm } from "../../src/operations/policy.ts";
import { bytesOf, type LabVault, openLab, type Person } from "./lab.ts";

const lab = openLab();
let vault: LabVault;
let ann: Person;
beforeAll(async () => {
  vault = await lab.vault();
  ann = vault.person({ uid: 1000 });
  for (const type of ["rsa2048", "aes256", "p256"] as const) {
    await ann.ask("key.create", { name: type, type });
  }
  const rsa: Algorithm[] = ["rsa-raw", "rsa-pkcs1-any", "rsa-pss"];
  const aes: Algorithm[] = ["aes-gcm-iv", "aes-cbc", "aes-cbc-pad", "aes-ctr", "aes-ecb"];
  await ann.ask("key.create", { name: "named-rsa", type: "rsa2048", fixed: { algorithms: rsa } });
  await ann.ask("key.create", { name: "named-aes", type: "aes256", fixed: { algorithms: aes } });
  await ann.ask("key.create", { name: "sha1", type: "p256", fixed: { digests: ["sha1"] } });
});
afterAll(() => lab.close());

const block = new Uint8Array(16);

describe("a key", () => {
  it.each([
    ["rsa-raw", new Uint8Array(256)],
    ["rsa-pkcs1-any", new Uint8Array(36)],
  ] as const)("signs with %s only when its policy names it", async (algorithm, data) => {
    expect(await ann.codeOf("sign", { key: "rsa2048", algorithm, data })).toBe("NOT_PERMITTED");
    const { signature } = await ann.ask("sign", { key: "named-rsa", algorithm, data });
    expect((await ann.ask("verify", { key: "named-rsa", algorithm, data, signature })).valid).toBe(true);
    expect((await ann.ask("verify", { key: "named-rsa", algorithm, data: data.fill(1), signature })).valid).toBe(false);
    const policy = { algorithms: [algorithm], digests: ["sha256" as const] };
    await ann.ask("key.create", { name: `limited-${algorithm}`, type: "rsa2048", fixed: policy });
    expect(await ann.codeOf("sign", { key: `limited-${algorithm}`, algorithm, data })).toBe("NOT_PERMITTED");
  });

  it.each([
    ["aes-gcm-iv", { iv: new Uint8Array(12) }],
    ["aes-cbc", { iv: block }],
    ["aes-cbc-pad", { iv: block }],
    ["aes-ctr", { iv: block }],
    ["aes-ecb", {}],
  ] as const)("encrypts with %s only when its policy names it", async (cipher, spec) => {
    const plaintext = bytesOf("exactly 16 bytes");
    const wish = { cipher, ...spec };
    expect(await ann.codeOf("encrypt", { key: "aes256", ...wish, plaintext })).toBe("NOT_PERMITTED");
    expect(await ann.codeOf("decrypt", { key: "aes256", ...wish, ciphertext: block })).toBe("NOT_PERMITTED");
    const { ciphertext } = await ann.ask("encrypt", { key: "named-aes", ...wish, plaintext: plaintext.slice() });
    expect((await ann.ask("decrypt", { key: "named-aes", ...wish, ciphertext })).plaintext).toEqual(plaintext);
    expect(await ann.codeOf("encrypt", { key: "named-aes", plaintext })).toBe("NOT_PERMITTED");
  });

  it("signs over SHA-1 only when its policy names it", async () => {
    const data = bytesOf("a message");
    expect(await ann.codeOf("sign", { key: "p256", digest: "sha1", data })).toBe("NOT_PERMITTED");
    expect(await ann.codeOf("sign", { key: "sha1", data })).toBe("NOT_PERMITTED");
    const { signature } = await ann.ask("sign", { key: "sha1", digest: "sha1", data });
    expect((await ann.ask("verify", { key: "sha1", digest: "sha1", data, signature })).valid).toBe(true);
  });
});

describe("a resident key", () => {
  it.each(["sha1", "sha224", "sha256", "sha384", "sha512"] as const)("signs over %s, as ECDSA says", async (digest) => {
    const name = `silicon-${digest}`;
    const { key } = await ann.ask("key.create", {
      ...{ name, type: "p256", protection: "resident", fixed: { digests: [digest] } },
    });
    const data = bytesOf("a message");
    const peer = createPublicKey({ key: Buffer.from(key.publicKey ?? []), format: "der", type: "spki" });
    const hashed = new Uint8Array(createHash(digest).update(data).digest());
    for (const wish of [
      { digest, data },
      { digest, data: hashed, digested: true },
    ]) {
      const { signature } = await ann.ask("sign", { key: name, ...wish });
      expect(verifies(digest, data, { key: peer, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
    }
    expect(await ann.codeOf("sign", { key: name, digest, digested: true, data: new Uint8Array(33) })).toBe("MALFORMED");
    await ann.ask("key.delete", { key: name });
  });
});
