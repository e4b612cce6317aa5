import {
  constants,
  createDecipheriv,
  createHash,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
  verify,
  X509Certificate,
} from "node:crypto";
import { describe, expect, test } from "vitest";
import { newCard } from "../../../src/emulators/piv-card/memory.ts";
import type { Algorithm } from "../../../src/emulators/piv-card/slots.ts";
import { bytes, insert, object, type Terminal, valueIn } from "./terminal.ts";

const algorithms = new Map<number, Algorithm>([
  [0x9c, "RSA-2048"],
  [0x9e, "P-384"],
]);
const CONTENTS = newCard({ algorithms });
const DIGEST = createHash("sha256").update("message").digest();
const P256 = "11";
const P384 = "14";
const RSA = "07";
const CERTIFICATES = { "9a": "5fc105", "9c": "5fc10a", "9d": "5fc10b", "9e": "5fc101" } as const;

async function selected(options: Parameters<typeof insert>[0] = { contents: CONTENTS }): Promise<Terminal> {
  const terminal = insert(options);
  await terminal.select();
  return terminal;
}

async function publicKey(terminal: Terminal, slot: keyof typeof CERTIFICATES): Promise<KeyObject> {
  const { data } = await terminal.send("00cb3fff", `5c03${CERTIFICATES[slot]}`);
  const content = valueIn(0x53, data);
  const certificate = new X509Certificate(content.subarray(4, content.length - 5));
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  return certificate.publicKey;
}

/** An RSA block as PKCS #1 v1.5 has it, for the digest of the message. */
function pkcs1(digest: Uint8Array): Buffer {
  const info = Buffer.concat([bytes("3031300d060960864801650304020105000420"), digest]);
  return Buffer.concat([bytes("0001"), Buffer.alloc(256 - 3 - info.length, 0xff), bytes("00"), info]);
}

describe("the PIN", () => {
  test("is counted, blocks after three, and a right one resets the count", async () => {
    const terminal = await selected();
    expect((await terminal.send("00200080")).status).toBe("63c3");
    expect((await terminal.verify("000000")).status).toBe("63c2");
    expect((await terminal.verify("123456")).status).toBe("9000");
    expect((await terminal.send("00200080")).status).toBe("9000");
    expect((await terminal.verify("000000")).status).toBe("63c2");
    expect((await terminal.verify("000000")).status).toBe("63c1");
    expect((await terminal.send("00200080")).status).toBe("63c1");
    expect((await terminal.verify("000000")).status).toBe("63c0");
    expect((await terminal.verify("123456")).status).toBe("6983");
  });

  test("is taken from the count before it is compared", async () => {
    const terminal = await selected();
    const before = terminal.saves();
    await terminal.verify("000000");
    expect(terminal.saves()).toBe(before + 1);
    expect(terminal.contents.pin.tries).toBe(2);
  });

  test("in a form no PIN has is refused and not counted", async () => {
    const terminal = await selected();
    for (const pin of [
      "313233343536",
      "31323334ffffffff",
      "3132333435ff36ff",
      "3132333435363738ff",
      "313233343561ffff",
    ]) {
      expect((await terminal.send("00200080", pin)).status).toBe("6a80");
    }
    expect((await terminal.send("00200000", "313233343536ffff")).status).toBe("6a88");
    expect(terminal.contents.pin.tries).toBe(3);
  });

  test("is forgotten when the terminal says so, and at a reset", async () => {
    const terminal = await selected();
    await terminal.verify();
    expect((await terminal.raw("0020ff80")).status).toBe("9000");
    expect((await terminal.send("00200080")).status).toBe("63c3");
    await terminal.verify();
    terminal.card.restart();
    await terminal.select();
    expect((await terminal.send("00200080")).status).toBe("63c3");
  });

  test("stays given while the application is selected again, or another in vain", async () => {
    const terminal = await selected();
    await terminal.verify();
    await terminal.select();
    await terminal.send("00a40400", "a000000151000000");
    expect((await terminal.send("00200080")).status).toBe("9000");
  });

  test("is changed by whoever knows the old one", async () => {
    const terminal = await selected();
    const change = (old: string, fresh: string) => terminal.send("00240080", `${old}ffff${fresh}ffff`);
    expect((await change("303030303030", "363534333231")).status).toBe("63c2");
    expect((await change("313233343536", "363534333261")).status).toBe("6a80");
    expect((await change("313233343536", "363534333231")).status).toBe("9000");
    expect((await terminal.verify("123456")).status).toBe("63c2");
    expect((await terminal.verify("654321")).status).toBe("9000");
  });

  test("is given a new value by the PUK, which is counted and blocks too", async () => {
    const terminal = await selected();
    for (let count = 0; count < 3; count++) await terminal.verify("000000");
    const unblock = (puk: string) => terminal.send("002c0080", `${puk}363534333231ffff`);
    expect((await unblock("3030303030303030")).status).toBe("63c2");
    expect((await unblock("3132333435363738")).status).toBe("9000");
    expect((await terminal.verify("654321")).status).toBe("9000");
    for (const left of ["63c2", "63c1", "63c0", "6983"]) {
      expect((await unblock("3030303030303030")).status).toBe(left);
    }
    expect((await unblock("3132333435363738")).status).toBe("6983");
    expect((await terminal.send("00200080")).status).toBe("63c3");
  });

  test("the PUK is changed by whoever knows the old one", async () => {
    const terminal = await selected();
    expect((await terminal.send("00240081", "31323334353637384142434445464748")).status).toBe("9000");
    expect((await terminal.send("002c0080", "4142434445464748363534333231ffff")).status).toBe("9000");
  });
});

describe("a key", () => {
  test("of 9A signs after the PIN, as often as wanted", async () => {
    const terminal = await selected();
    expect((await terminal.use("9a", P256, 0x81, DIGEST)).status).toBe("6982");
    await terminal.verify();
    for (let count = 0; count < 2; count++) {
      const { data } = await terminal.use("9a", P256, 0x81, DIGEST);
      expect(verify("sha256", Buffer.from("message"), await publicKey(terminal, "9a"), data)).toBe(true);
    }
  });

  test("of 9C signs once for each time the PIN is given, with RSA", async () => {
    const terminal = await selected();
    await terminal.verify();
    await terminal.send("00cb3fff", "5c017e"); // which programs do in between
    const { data } = await terminal.use("9c", RSA, 0x81, pkcs1(DIGEST));
    expect(verify("sha256", Buffer.from("message"), await publicKey(terminal, "9c"), data)).toBe(true);
    expect((await terminal.use("9c", RSA, 0x81, pkcs1(DIGEST))).status).toBe("6982");
    await terminal.verify();
    await terminal.use("9a", P256, 0x81, DIGEST);
    expect((await terminal.use("9c", RSA, 0x81, pkcs1(DIGEST))).status).toBe("6982");
  });

  test("of 9D agrees after the PIN, and does not sign", async () => {
    const terminal = await selected();
    const peer = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const point = peer.publicKey.export({ format: "der", type: "spki" }).subarray(-65);
    expect((await terminal.use("9d", P256, 0x85, point)).status).toBe("6982");
    await terminal.verify();
    const { data } = await terminal.use("9d", P256, 0x85, point);
    const ours = diffieHellman({ privateKey: peer.privateKey, publicKey: await publicKey(terminal, "9d") });
    expect(Buffer.from(data).equals(ours)).toBe(true);
    expect((await terminal.use("9d", P256, 0x81, DIGEST)).status).toBe("6a80");
    expect((await terminal.use("9a", P256, 0x85, point)).status).toBe("6a80");
  });

  test("agrees with no point that is not on its curve", async () => {
    const terminal = await selected();
    await terminal.verify();
    const off = new Uint8Array(65).fill(1);
    off[0] = 4;
    for (const point of [off, off.subarray(1), new Uint8Array(33).fill(2), new Uint8Array(0), Uint8Array.of(0)]) {
      expect((await terminal.use("9d", P256, 0x85, point)).status).toBe("6a80");
    }
  });

  test("of 9E signs without the PIN, on P-384", async () => {
    const terminal = await selected();
    const digest = createHash("sha384").update("message").digest();
    const { data } = await terminal.use("9e", P384, 0x81, digest);
    expect(verify("sha384", Buffer.from("message"), await publicKey(terminal, "9e"), data)).toBe(true);
  });

  test("of RSA decrypts what its public key encrypted, when it is for key management", async () => {
    const terminal = await selected({ algorithms: new Map<number, Algorithm>([[0x9d, "RSA-2048"]]) });
    await terminal.verify();
    const padding = constants.RSA_PKCS1_PADDING;
    const sealed = publicEncrypt({ key: await publicKey(terminal, "9d"), padding }, Buffer.from("secret"));
    const { data } = await terminal.use("9d", RSA, 0x81, sealed);
    expect(Buffer.from(data.subarray(-6)).toString()).toBe("secret");
    expect(data.subarray(0, 2)).toEqual(Uint8Array.of(0, 2));
  });

  test("is not used with another algorithm, for another slot, or on input that does not fit", async () => {
    const terminal = await selected();
    await terminal.verify();
    expect((await terminal.use("9a", P384, 0x81, DIGEST)).status).toBe("6a86");
    expect((await terminal.use("82", P256, 0x81, DIGEST)).status).toBe("6a86");
    expect((await terminal.use("9a", P256, 0x81, new Uint8Array(33))).status).toBe("6a80");
    expect((await terminal.use("9a", P256, 0x81, new Uint8Array(0))).status).toBe("6a80");
    for (const template of ["", "7c00", "7c028200", "7c0481008200", "7c06810101810101", "7c0381010182", "810101"]) {
      expect((await terminal.send("0087119a", template)).status).toBe("6a80");
    }
    await terminal.verify();
    expect((await terminal.use("9c", RSA, 0x81, new Uint8Array(256).fill(0xff))).status).toBe("6a80");
  });

  test("that wants a finger is used when there is one, and not when there is none", async () => {
    let isThere = false;
    const terminal = await selected({ touch: new Set([0x9a]), finger: async () => isThere });
    await terminal.verify();
    expect((await terminal.use("9a", P256, 0x81, DIGEST)).status).toBe("6982");
    expect((await terminal.use("9e", P256, 0x81, DIGEST)).status).toBe("9000");
    isThere = true;
    expect((await terminal.use("9a", P256, 0x81, DIGEST)).status).toBe("9000");
  });
});

describe("what the card tells", () => {
  test("CHUID and discovery object", async () => {
    const terminal = await selected();
    const discovery = await terminal.send("00cb3fff", "5c017e");
    expect(Buffer.from(discovery.data).toString("hex")).toBe("7e124f0ba0000003080000100001005f2f024000");
    const { data } = await terminal.send("00cb3fff", "5c035fc102");
    expect(valueIn(0x53, data).length).toBe(59);
  });

  test("what is not there, and what needs the PIN", async () => {
    const terminal = await selected();
    expect((await terminal.send("00cb3fff", "5c035fc1ff")).status).toBe("6a82");
    expect((await terminal.send("00cb3fff", "5c0400000001")).status).toBe("6a80");
    expect((await terminal.send("00cb0000", "5c035fc102")).status).toBe("6a86");
    expect((await terminal.send("00cb3fff", "5c035fc109")).status).toBe("6982");
    await terminal.verify();
    expect((await terminal.send("00cb3fff", "5c035fc109")).status).toBe("6a82");
  });

  test("its serial number and a version", async () => {
    const terminal = await selected();
    const { data } = await terminal.send("00f80000");
    expect(Buffer.from(data).readUInt32BE()).toBe(CONTENTS.serial);
    expect((await terminal.send("00fd0000")).data).toEqual(Uint8Array.of(5, 4, 3));
    expect((await terminal.send("00f70000")).status).toBe("6d00");
  });
});

describe("the card management key", () => {
  const key = bytes("010203040506070801020304050607080102030405060708");

  /** AES-192, one block. */
  function decrypted(block: Uint8Array): Buffer {
    const cipher = createDecipheriv("aes-192-ecb", key, null).setAutoPadding(false);
    return Buffer.concat([cipher.update(block), cipher.final()]);
  }

  async function authenticated(): Promise<Terminal> {
    const terminal = await selected();
    const { data } = await terminal.send("00870a9b", "7c028000");
    const witness = decrypted(valueIn(0x80, valueIn(0x7c, data)));
    const challenge = randomBytes(16);
    const mutual = Buffer.concat([object(0x80, witness), object(0x81, challenge), bytes("8200")]);
    const { data: proof } = await terminal.send("00870a9b", object(0x7c, mutual));
    expect(decrypted(valueIn(0x82, valueIn(0x7c, proof))).equals(challenge)).toBe(true);
    return terminal;
  }

  test("is needed to make keys and to put objects", async () => {
    const terminal = await selected();
    await terminal.verify();
    expect((await terminal.send("0047009a", "ac03800111")).status).toBe("6982");
    expect((await terminal.send("00db3fff", "5c035fc1055301aa")).status).toBe("6982");
    expect((await terminal.send("00870a9b", object(0x7c, object(0x82, new Uint8Array(16))))).status).toBe("6982");
  });

  test("a challenge is good for one attempt", async () => {
    const terminal = await selected();
    const { data } = await terminal.send("00870a9b", "7c028000");
    const witness = decrypted(valueIn(0x80, valueIn(0x7c, data)));
    const prove = (proof: Uint8Array) => terminal.send("00870a9b", object(0x7c, object(0x80, proof)));
    expect((await prove(new Uint8Array(16))).status).toBe("6982");
    expect((await prove(witness)).status).toBe("6982");
  });

  test("makes a key, whose public part is the answer, and replaces an object", async () => {
    const terminal = await authenticated();
    const { data } = await terminal.send("0047009a", "ac03800111");
    const point = valueIn(0x86, data.subarray(3));
    const spki = Buffer.concat([bytes("3059301306072a8648ce3d020106082a8648ce3d030107034200"), point]);
    await terminal.verify();
    const signature = await terminal.use("9a", P256, 0x81, DIGEST);
    const made = { key: spki, format: "der", type: "spki" } as const;
    expect(verify("sha256", Buffer.from("message"), made, signature.data)).toBe(true);

    const content = new Uint8Array(randomBytes(1200));
    const put = Buffer.concat([bytes("5c035fc105"), object(0x53, content)]);
    expect((await terminal.send("00db3fff", put)).status).toBe("9000");
    expect(valueIn(0x53, (await terminal.send("00cb3fff", "5c035fc105")).data)).toEqual(content);
    expect((await terminal.send("00db3fff", "5c035fc1055300")).status).toBe("9000");
    expect((await terminal.send("00cb3fff", "5c035fc105")).status).toBe("6a82");
  });

  test("makes no key in a slot or of an algorithm there is not", async () => {
    const terminal = await authenticated();
    expect((await terminal.send("0047009b", "ac03800111")).status).toBe("6a86");
    for (const template of ["", "ac03800106", "ac0480020711", "ac00", "800111"]) {
      expect((await terminal.send("0047009a", template)).status).toBe("6a80");
    }
  });
});
