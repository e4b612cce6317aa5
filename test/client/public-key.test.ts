import { spawnSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { publicKeyAs } from "../../src/client/public-key.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-public-"));
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

const KEYS: [string, KeyObject][] = [
  ["p256", generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey],
  ["p384", generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey],
  ["p521", generateKeyPairSync("ec", { namedCurve: "P-521" }).publicKey],
  ["rsa2048", generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey],
  ["ed25519", generateKeyPairSync("ed25519").publicKey],
];
const spkiOf = (key: KeyObject) => new Uint8Array(key.export({ type: "spki", format: "der" }));

/** Keys published with their fingerprints would do as well; ssh-keygen is the reader that matters. */
const hasKeygen = spawnSync("ssh-keygen", ["-?"]).error === undefined;

describe("a public key", () => {
  it.each(KEYS)("of type %s is the same key as PEM, DER and JWK", (_, key) => {
    const spki = spkiOf(key);
    expect(createPublicKey(publicKeyAs("pem", spki)).equals(key)).toBe(true);
    expect(publicKeyAs("der", spki)).toEqual(spki);
    expect(createPublicKey({ key: JSON.parse(publicKeyAs("jwk", spki)), format: "jwk" }).equals(key)).toBe(true);
  });

  it.skipIf(!hasKeygen).each(KEYS)("of type %s as an SSH line is the same key to ssh-keygen", (name, key) => {
    const file = join(folder, name);
    const line = publicKeyAs("ssh", spkiOf(key), "me@here");
    expect(line).toMatch(/ me@here$/);
    writeFileSync(file, `${line}\n`);
    const { status, stdout } = spawnSync("ssh-keygen", ["-e", "-m", "PKCS8", "-f", file], { encoding: "utf8" });
    if (name === "ed25519") {
      // ssh-keygen cannot write this one as PKCS#8; that it reads it, and the bytes, must do.
      expect(spawnSync("ssh-keygen", ["-l", "-f", file]).status).toBe(0);
      expect(Buffer.from(line.split(" ")[1] ?? "", "base64").subarray(-32)).toEqual(
        Buffer.from(spkiOf(key)).subarray(-32),
      );
    } else {
      expect(status).toBe(0);
      expect(createPublicKey(stdout).equals(key)).toBe(true);
    }
  });

  it("that SSH does not know is refused, and so is what is no key", () => {
    const koblitz = generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey;
    expect(() => publicKeyAs("ssh", spkiOf(koblitz))).toThrow(expect.objectContaining({ code: "NOT_SUPPORTED" }));
    expect(JSON.parse(publicKeyAs("jwk", spkiOf(koblitz)))).toMatchObject({ crv: "secp256k1" });
    expect(() => publicKeyAs("pem", Uint8Array.of(1))).toThrow(expect.objectContaining({ code: "MALFORMED" }));
  });
});
