/** Keys of sessions, whose values programs gave, and keys of the vault in the plain modes: beside node:crypto. */
import {
  createCipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  privateDecrypt,
  randomBytes,
  sign,
} from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { openWireClient, type WireClient } from "./wire-client.ts";

const fresh = (length: number) => new Uint8Array(randomBytes(length));
const bool = (type: number, value: boolean) => ({ type, value });
const secret = (keyType: number, value: Uint8Array, ...more: { type: number; value: unknown }[]) => [
  { type: 0, value: 4 },
  { type: 0x100, value: keyType },
  { type: 0x11, value },
  ...more,
];

let lab: TokenLab;
let client: WireClient;
let session: number;

const done = (...call: Parameters<WireClient["must"]>) => client.must(...call);

async function one<T>(...call: Parameters<WireClient["call"]>): Promise<T> {
  return (await done(...call))[0] as T;
}

describe("an application", () => {
  beforeAll(async () => {
    lab = await openTokenLab();
    client = await openWireClient(lab.socket);
    session = await one<number>("OpenSession", 0, 6);
  });
  afterAll(async () => {
    client?.close();
    await lab?.close();
  });

  it.each([
    ["ECB", 0x1081, 0x1081, null, "aes-256-ecb", null, true],
    ["CBC", 0x1082, 0x1082, [fresh(16)], "aes-256-cbc", 0, true],
    ["CBC with padding", 0x1085, 0x1085, [fresh(16)], "aes-256-cbc", 0, false],
    ["CTR", 0x1086, 0x1086, [128, fresh(16)], "aes-256-ctr", 1, false],
  ] as const)(
    "encrypts with AES-%s in parts, here and in the vault, and decrypts again",
    async (_, type, __, fields, name, iv, whole) => {
      const value = fresh(32);
      const how = { type, fields };
      const here = await one<number>("CreateObject", session, secret(0x1f, value));
      const inVault = await one<number>(
        "CreateObject",
        session,
        secret(0x1f, value, bool(1, true), bool(0x104, true), bool(0x105, true)),
      );
      const message = fresh(whole ? 160 : 151);
      const peer = createCipheriv(name, value, iv === null ? null : ((fields?.[iv] as Uint8Array) ?? null));
      if (whole) peer.setAutoPadding(false);
      const expected = new Uint8Array(Buffer.concat([peer.update(message), peer.final()]));
      for (const key of [here, inVault]) {
        await done("EncryptInit", session, how, key);
        const parts: Uint8Array[] = [];
        for (const [from, to] of [
          [0, 5],
          [5, 60],
          [60, message.length],
        ] as const) {
          parts.push(await one<Uint8Array>("EncryptUpdate", session, message.subarray(from, to), 1000));
        }
        parts.push(await one<Uint8Array>("EncryptFinal", session, 1000));
        expect(new Uint8Array(Buffer.concat(parts))).toEqual(expected);
        await done("DecryptInit", session, how, key);
        expect(await one("Decrypt", session, expected, 0)).toEqual({ size: expected.length });
        expect(await one("Decrypt", session, expected, 1000)).toEqual(message);
      }
    },
  );

  it("seals with AES-GCM as node:crypto does, and opens nothing that was changed", async () => {
    const [value, iv, aad, message] = [fresh(32), fresh(12), fresh(20), fresh(100)];
    const how = { type: 0x1087, fields: [iv, 96, aad, 128] };
    const peer = createCipheriv("aes-256-gcm", value, iv).setAAD(aad);
    const expected = new Uint8Array(Buffer.concat([peer.update(message), peer.final(), peer.getAuthTag()]));
    const here = await one<number>("CreateObject", session, secret(0x1f, value));
    const inVault = await one<number>("CreateObject", session, secret(0x1f, value, bool(1, true)));
    for (const key of [here, inVault]) {
      await done("EncryptInit", session, how, key);
      expect(await one("Encrypt", session, message, 1000)).toEqual(expected);
      const changed = expected.slice();
      changed[3] = (changed[3] ?? 0) ^ 1;
      await done("DecryptInit", session, how, key);
      expect(await client.call("Decrypt", session, changed, 1000)).toBe(0x40);
      await done("DecryptInit", session, how, key);
      expect(await one("Decrypt", session, expected, 1000)).toEqual(message);
    }
  });

  it("makes HMACs, and checks them", async () => {
    const [value, message] = [fresh(32), fresh(300)];
    const expected = new Uint8Array(createHmac("sha256", value).update(message).digest());
    const here = await one<number>("CreateObject", session, secret(0x10, value));
    const inVault = await one<number>("CreateObject", session, secret(0x10, value, bool(1, true)));
    for (const key of [here, inVault]) {
      await done("SignInit", session, { type: 0x251, fields: null }, key);
      await done("SignUpdate", session, message.subarray(0, 100));
      await done("SignUpdate", session, message.subarray(100));
      expect(await one("SignFinal", session, 32)).toEqual(expected);
      await done("VerifyInit", session, { type: 0x251, fields: null }, key);
      expect(await client.call("Verify", session, message, expected)).toEqual([]);
      await done("VerifyInit", session, { type: 0x251, fields: null }, key);
      expect(await client.call("Verify", session, message, fresh(32))).toBe(0xc0);
    }
  });

  it("checks somebody's signature with a public key of its session, which ends with it", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ format: "der", type: "spki" });
    const own = await one<number>("OpenSession", 0, 4);
    const key = await one<number>("CreateObject", own, [
      { type: 0, value: 2 },
      { type: 0x100, value: 3 },
      { type: 0x180, value: new Uint8Array(Buffer.from("06082a8648ce3d030107", "hex")) },
      { type: 0x181, value: new Uint8Array(spki.subarray(-65)) },
    ]);
    const message = fresh(50);
    const signature = new Uint8Array(sign("sha256", message, { key: privateKey, dsaEncoding: "ieee-p1363" }));
    await done("VerifyInit", own, { type: 0x1044, fields: null }, key);
    expect(await client.call("Verify", own, message, signature)).toEqual([]);
    await done("VerifyInit", own, { type: 0x1044, fields: null }, key);
    expect(await client.call("Verify", own, fresh(50), signature)).toBe(0xc0);
    await done("CloseSession", own);
    expect(await client.call("VerifyInit", session, { type: 0x1044, fields: null }, key)).toBe(0x60);
  });

  it("agrees on a secret as node:crypto does", async () => {
    const params = { type: 0x180, value: new Uint8Array(Buffer.from("06082a8648ce3d030107", "hex")) };
    const [pub, priv] = (await done(
      "GenerateKeyPair",
      session,
      { type: 0x1040, fields: null },
      [params],
      [bool(1, true), bool(0x10c, true)],
    )) as [number, number];
    const peer = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const point = new Uint8Array(peer.publicKey.export({ format: "der", type: "spki" }).subarray(-65));
    const [, , made] = await done("DeriveKey2", session, { type: 0x1050, fields: [1, null, point] }, priv, [
      { type: 0, value: 4 },
      { type: 0x100, value: 0x10 },
      bool(0x103, false),
      bool(0x162, true),
    ]);
    const [[{ value }]] = (await done("GetAttributeValue", session, made, [{ type: 0x11, room: 100 }])) as [
      [{ value: Uint8Array }],
    ];
    const [[info]] = (await done("GetAttributeValue", session, pub, [{ type: 0x129, room: 200 }])) as [
      [{ value: Uint8Array }],
    ];
    const theirs = createPublicKey({ key: Buffer.from(info.value), format: "der", type: "spki" });
    expect(value).toEqual(new Uint8Array(diffieHellman({ privateKey: peer.privateKey, publicKey: theirs })));
  });

  it("wraps a key of its session for somebody's RSA key", async () => {
    const peer = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const { n, e } = peer.publicKey.export({ format: "jwk" });
    const by = await one<number>("CreateObject", session, [
      { type: 0, value: 2 },
      { type: 0x100, value: 0 },
      { type: 0x120, value: new Uint8Array(Buffer.from(n ?? "", "base64url")) },
      { type: 0x122, value: new Uint8Array(Buffer.from(e ?? "", "base64url")) },
    ]);
    const value = fresh(32);
    const target = await one<number>("CreateObject", session, secret(0x1f, value));
    const how = { type: 0x9, fields: [0x250, 2, 1, new Uint8Array(0)] };
    const wrapped = await one<Uint8Array>("WrapKey", session, how, by, target, 256);
    expect(new Uint8Array(privateDecrypt({ key: peer.privateKey, oaepHash: "sha256" }, wrapped))).toEqual(value);
  });

  it("sees nothing of what is secret, and hears which attribute it was", async () => {
    const key = await one<number>("CreateObject", session, secret(0x1f, fresh(32), bool(0x103, true)));
    const wanted = [0x11, 0x161, 0x99999].map((type) => ({ type, room: 0 }));
    expect(await done("GetAttributeValue", session, key, wanted)).toEqual([
      [
        { type: 0x11, value: null },
        { type: 0x161, value: 32 },
        { type: 0x99999, value: null },
      ],
      0x11,
    ]);
  });
});
