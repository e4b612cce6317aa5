import { diffieHellman, generateKeyPairSync, verify, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type CardReader, MODULE, openCardReader, PIN, PUK, READER, whyNoCardReader } from "./lab.ts";

const missing = whyNoCardReader();

describe.skipIf(missing)(`OpenSC and the emulated PIV card${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let reader: CardReader;
  beforeAll(async () => {
    reader = await openCardReader();
  });
  afterAll(() => reader?.close());

  const LOGIN = ["--login", "--pin", PIN];
  const wrong = () => reader.pkcs11Tool("--login", "--pin", "999999", "--list-objects");

  /** @returns what the program wrote to the file it was given. @throws Error when it failed */
  async function written(name: string, ...args: readonly string[]): Promise<Buffer> {
    const done = await reader.pkcs11Tool(...args, "--output-file", reader.path(name));
    if (done.status !== 0) throw new Error(done.err);
    return readFileSync(reader.path(name));
  }

  function input(name: string, bytes: string | Uint8Array): string {
    writeFileSync(reader.path(name), bytes);
    return reader.path(name);
  }

  /** From its certificate: the pkcs11-tool of OpenSC 0.23 can write no public key of P-384. */
  async function publicKey(id: string) {
    return new X509Certificate(await written("certificate", "-r", "-y", "cert", "--id", id)).publicKey;
  }

  /** By a command of our own, because OpenSC tells only some of it. @returns the status of an empty VERIFY */
  async function pinStatus(): Promise<string | undefined> {
    const commands = ["-s", "00A4040009A00000030800001000", "-s", "00200080"];
    const { out } = await reader.run("opensc-tool", ["--card-driver", "default", ...commands]);
    return /(SW1=\S+ SW2=\w+)\)\s*$/.exec(out)?.[1];
  }

  /** In the second slot, until the test is over. */
  async function plug(card: string, ...args: string[]) {
    const plugged = await reader.plug({ card, slot: 1, args });
    onTestFinished(() => plugged.unplug());
    return plugged;
  }

  describe("one card", () => {
    beforeAll(async () => {
      await reader.plug({ args: ["--key", "9C=RSA-2048", "--key", "9E=P-384"] });
    });

    test("opensc-tool sees the reader, the card in its first slot, its ATR, and that it is a PIV card", async () => {
      const list = await reader.run("opensc-tool", ["--list-readers"]);
      expect(list.out).toMatch(new RegExp(`^0 +Yes +${READER} 00 00$`, "m"));
      expect(list.out).toMatch(new RegExp(`^1 +No +${READER} 00 01$`, "m"));
      expect((await reader.run("opensc-tool", ["--atr"])).out.trim()).toBe("3b:86:80:01:80:31:c1:52:41:12:76");
      expect((await reader.run("opensc-tool", ["--name"])).out.trim()).toBe("Personal Identity Verification Card");
    });

    test("a program of another user sees it too", async () => {
      const done = await reader.run("setpriv", [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "opensc-tool",
        "-n",
      ]);
      expect(done.out.trim()).toBe("Personal Identity Verification Card");
    });

    test("pkcs11-tool lists four keys with certificates, each of which its key has signed", async () => {
      const { out } = await reader.pkcs11Tool(...LOGIN, "--list-objects");
      for (const name of ["PIV AUTH key", "SIGN key", "KEY MAN key", "CARD AUTH key"]) {
        expect(out).toMatch(new RegExp(`Private Key Object.*\n +label: +${name}$`, "m"));
      }
      for (const id of ["01", "02", "03", "04"]) {
        const certificate = new X509Certificate(await written("certificate", "-r", "-y", "cert", "--id", id));
        expect(certificate.verify(certificate.publicKey)).toBe(true);
      }
    });

    test("ssh-keygen lists the keys", async () => {
      const { out } = await reader.run("ssh-keygen", ["-D", `${MODULE}`]);
      expect(out).toMatch(/^ecdsa-sha2-nistp256 \S+ PIV AUTH pubkey$/m);
      expect(out).toMatch(/^ssh-rsa \S+ SIGN pubkey$/m);
    });

    test("a signature of 9A is one that OpenSSL verifies", async () => {
      const key = await publicKey("01");
      const message = input("message", "to be signed");
      const args = ["--sign", "--mechanism", "ECDSA-SHA256", "--signature-format", "openssl", "--id", "01"];
      await written("signature", ...LOGIN, ...args, "--input-file", message);
      const pem = input("public.pem", key.export({ format: "pem", type: "spki" }));
      const check = ["dgst", "-sha256", "-verify", pem, "-signature", reader.path("signature")];
      expect((await reader.run("openssl", [...check, message])).out).toBe("Verified OK\n");
      expect((await reader.run("openssl", [...check, input("other", "not signed")])).status).not.toBe(0);
    });

    test("an RSA signature of 9C, for which the PIN is given once more, is right", async () => {
      const message = input("message", "to be signed");
      const args = ["--mechanism", "SHA256-RSA-PKCS", "--id", "02", "--input-file", message];
      const signature = await written("signature", ...LOGIN, "--sign", ...args);
      expect(verify("sha256", readFileSync(message), await publicKey("02"), signature)).toBe(true);
    });

    test("a signature of 9E on P-384 is right", async () => {
      const message = input("message", "to be signed");
      const args = ["--mechanism", "ECDSA-SHA384", "--signature-format", "openssl", "--id", "04", "-i", message];
      const signature = await written("signature", ...LOGIN, "--sign", ...args);
      expect(verify("sha384", readFileSync(message), await publicKey("04"), signature)).toBe(true);
    });

    test("what 9D derives is what the peer derives", async () => {
      const peer = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
      const file = input("peer", peer.publicKey.export({ format: "der", type: "spki" }));
      const derived = await written("secret", ...LOGIN, "--derive", "-m", "ECDH1-DERIVE", "--id", "03", "-i", file);
      const expected = diffieHellman({ privateKey: peer.privateKey, publicKey: await publicKey("03") });
      expect(derived.equals(expected)).toBe(true);
    });

    test("three wrong PINs block it, and the PUK gives it a new one", async () => {
      for (const left of ["2", "1", "0"]) {
        expect((await wrong()).err).toContain("CKR_PIN_INCORRECT");
        expect(await pinStatus()).toBe(`SW1=0x63, SW2=0xC${left}`);
      }
      expect((await reader.pkcs11Tool(...LOGIN, "--list-objects")).err).toContain("CKR_PIN_LOCKED");

      const unblock = ["--unblock-pin", "--auth-id", "01", "--puk", PUK, "--new-pin", PIN];
      expect((await reader.run("pkcs15-tool", unblock)).status).toBe(0);
      expect((await reader.pkcs11Tool(...LOGIN, "--list-objects")).status).toBe(0);
    });
  });

  describe("a card and its issuer", () => {
    test("piv-tool, with the card management key, has a new key made and puts another certificate", async () => {
      await plug("issued.card");
      const key = input("management", "01:02:03:04:05:06:07:08:".repeat(3).slice(0, -1));
      const tool = (...args: string[]) =>
        reader.run("piv-tool", ["--reader", "1", "--admin", "M:9B:0A", ...args], { env: { PIV_EXT_AUTH_KEY: key } });
      const certificate = () => written("object", "--slot-index", "1", "-r", "-y", "cert", "--id", "01");
      const before = await certificate();

      // piv-tool of OpenSC 0.23 has the key made, and then fails to print it (OpenSC issue 3156).
      await tool("--genkey", "9A:11");
      const message = input("message", "to be signed");
      const args = ["--slot-index", "1", "--sign", "--mechanism", "ECDSA-SHA256", "--signature-format", "openssl"];
      const signature = await written("signature", ...LOGIN, ...args, "--id", "01", "-i", message);
      const old = new X509Certificate(before).publicKey;
      expect(verify("sha256", readFileSync(message), old, signature)).toBe(false);

      const other = await written("other", "--slot-index", "1", "-r", "-y", "cert", "--id", "04");
      await tool("--cert", "9A", "--in", input("other.pem", new X509Certificate(other).toString()));
      expect((await certificate()).equals(other)).toBe(true);
    });
  });

  describe("cards come and go", () => {
    test("a card that is taken out while it signs ends the program that waits for it", async () => {
      const card = await plug("touched.card", "--touch", "9A", "--finger-within", "60000");
      const message = input("message", "to be signed");
      const args = ["--slot-index", "1", "--sign", "--mechanism", "ECDSA-SHA256", "--id", "01", "-i", message];
      const signing = () => reader.pkcs11Tool(...LOGIN, ...args, "--output-file", reader.path("signature"));

      const first = signing();
      await card.wantsFinger();
      card.finger(true);
      expect((await first).status).toBe(0);
      card.finger(false);
      const second = signing();
      await card.wantsFinger();
      await card.unplug();
      expect((await second).status).not.toBe(0);
    });

    test("a card that is taken out is gone; another is another, and the first is what it was when it is back", async () => {
      const first = await plug("first.card");
      const serial = await reader.run("opensc-tool", ["--reader", "1", "--serial"]);
      await first.unplug();
      expect((await reader.run("opensc-tool", ["--reader", "1", "--atr"])).err).toContain("Card not present");
      const second = await plug("second.card");
      const other = await reader.run("opensc-tool", ["--reader", "1", "--serial"]);
      expect(other.out).not.toBe(serial.out);
      await second.unplug();
      await plug("first.card");
      expect((await reader.run("opensc-tool", ["--reader", "1", "--serial"])).out).toBe(serial.out);
    });
  });
});
