/** The rarer functions of PKCS#11: two operations at once, recovery, wrapping, copies, changes; beside node:crypto. */
import {
  constants,
  createCipheriv,
  createHash,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
  verify,
} from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CKA, CKK, CKM, CKO, CKR } from "../../../src/gate/pkcs11/constants.ts";
import { openTokenLab, type TokenLab } from "./lab.ts";
import { openWireClient, type WireClient } from "./wire-client.ts";

const fresh = (length: number) => new Uint8Array(randomBytes(length));
const by = (type: number, ...fields: unknown[]) => ({ type, fields: fields.length > 0 ? fields : null });
type Attribute = { type: number; value: unknown };
const of = (...pairs: (readonly [number, unknown])[]): Attribute[] => pairs.map(([type, value]) => ({ type, value }));
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

let lab: TokenLab;
let client: WireClient;
let session: number;

const done = (...call: Parameters<WireClient["must"]>) => client.must(...call);
const one = async <T>(...call: Parameters<WireClient["call"]>) => (await done(...call))[0] as T;
const rv = (...call: Parameters<WireClient["call"]>) => client.call(...call);

async function attributeOf(object: number, type: number): Promise<unknown> {
  const [[attribute]] = (await done("GetAttributeValue", session, object, [{ type, room: 4096 }])) as [[Attribute]];
  return attribute.value;
}

async function find(...wanted: (readonly [number, unknown])[]): Promise<number[]> {
  await done("FindObjectsInit", session, of(...wanted));
  const found = await one<number[]>("FindObjects", session, 100);
  await done("FindObjectsFinal", session);
  return found;
}

beforeAll(async () => {
  lab = await openTokenLab();
  client = await openWireClient(lab.socket);
  session = await one<number>("OpenSession", 0, 6);
});
afterAll(async () => {
  client?.close();
  await lab?.close();
});

const secretKey = (keyType: number, value: Uint8Array, ...more: (readonly [number, unknown])[]) =>
  one<number>(
    "CreateObject",
    session,
    of([CKA.CLASS, CKO.SECRET_KEY], [CKA.KEY_TYPE, keyType], [CKA.VALUE, value], ...more),
  );

const PARTS = [
  [0, 16],
  [16, 64],
  [64, 160],
] as const;

describe("two operations over one message", () => {
  const message = fresh(160);
  const [value, iv] = [fresh(32), fresh(16)];
  const peer = createCipheriv("aes-256-cbc", value, iv).setAutoPadding(false);
  const sealed = new Uint8Array(Buffer.concat([peer.update(message), peer.final()]));

  it("digests what it encrypts, and what it decrypts", async () => {
    const key = await secretKey(CKK.AES, value);
    const digest = new Uint8Array(createHash("sha256").update(message).digest());
    await done("DigestInit", session, by(CKM.SHA256));
    await done("EncryptInit", session, by(CKM.AES_CBC, iv), key);
    const out: Uint8Array[] = [];
    for (const [from, to] of PARTS) {
      const part = message.subarray(from, to);
      // Asked for its length, or with too little room, a part counts once.
      expect(await one("DigestEncryptUpdate", session, part, 0)).toHaveProperty("size");
      out.push(await one<Uint8Array>("DigestEncryptUpdate", session, part, 200));
    }
    out.push(await one<Uint8Array>("EncryptFinal", session, 200));
    expect(new Uint8Array(Buffer.concat(out))).toEqual(sealed);
    expect(await one("DigestFinal", session, 32)).toEqual(digest);

    await done("DigestInit", session, by(CKM.SHA256));
    await done("DecryptInit", session, by(CKM.AES_CBC, iv), key);
    const plain: Uint8Array[] = [];
    for (const [from, to] of PARTS) {
      plain.push(await one<Uint8Array>("DecryptDigestUpdate", session, sealed.subarray(from, to), 200));
    }
    plain.push(await one<Uint8Array>("DecryptFinal", session, 200));
    expect(new Uint8Array(Buffer.concat(plain))).toEqual(message);
    expect(await one("DigestFinal", session, 32)).toEqual(digest);
  });

  it("signs what it encrypts, and verifies what it decrypts", async () => {
    const [key, mac] = [await secretKey(CKK.AES, value), fresh(32)];
    const macKey = await secretKey(CKK.GENERIC_SECRET, mac);
    await done("SignInit", session, by(CKM.SHA256_HMAC), macKey);
    await done("EncryptInit", session, by(CKM.AES_CBC, iv), key);
    for (const [from, to] of PARTS) await done("SignEncryptUpdate", session, message.subarray(from, to), 200);
    await done("EncryptFinal", session, 200);
    const signature = await one<Uint8Array>("SignFinal", session, 32);
    expect(signature).toEqual(new Uint8Array(createHmac("sha256", mac).update(message).digest()));
    for (const [sent, answer] of [
      [signature, []],
      [fresh(32), CKR.SIGNATURE_INVALID],
    ] as const) {
      await done("VerifyInit", session, by(CKM.SHA256_HMAC), macKey);
      await done("DecryptInit", session, by(CKM.AES_CBC, iv), key);
      for (const [from, to] of PARTS) await done("DecryptVerifyUpdate", session, sealed.subarray(from, to), 200);
      await done("DecryptFinal", session, 200);
      expect(await rv("VerifyFinal", session, sent)).toEqual(answer);
    }
  });

  it("needs both of them", async () => {
    expect(await rv("DigestEncryptUpdate", session, message, 200)).toBe(CKR.OPERATION_NOT_INITIALIZED);
    await done("DigestInit", session, by(CKM.SHA256));
    expect(await rv("DigestEncryptUpdate", session, message, 200)).toBe(CKR.OPERATION_NOT_INITIALIZED);
    await done("Digest", session, message, 32);
  });
});

describe("signatures that carry their message", () => {
  it.each([
    ["PKCS#1 v1.5", CKM.RSA_PKCS, 40],
    ["raw RSA", CKM.RSA_X_509, 256],
  ])("%s", async (_, mechanism, length) => {
    const [pub, priv] = await rsaPair(`recover-${mechanism}`);
    const message = fresh(length);
    message[0] = 1; // below the modulus
    await done("SignRecoverInit", session, by(mechanism), priv);
    expect(await rv("Sign", session, message, 256)).toBe(CKR.OPERATION_NOT_INITIALIZED);
    const signature = await one<Uint8Array>("SignRecover", session, message, 256);
    await done("VerifyRecoverInit", session, by(mechanism), pub);
    expect(await one("VerifyRecover", session, signature, 256)).toEqual(message);
    if (mechanism === CKM.RSA_X_509) return; // every number is a signature of something
    await done("VerifyRecoverInit", session, by(mechanism), pub);
    expect(await rv("VerifyRecover", session, fresh(256).fill(1, 0, 1), 256)).toBe(CKR.SIGNATURE_INVALID);
  });
});

async function rsaPair(label: string): Promise<[number, number]> {
  return (await done(
    "GenerateKeyPair",
    session,
    by(CKM.RSA_PKCS_KEY_PAIR_GEN),
    of([CKA.MODULUS_BITS, 2048], [CKA.LABEL, bytes(label)], [CKA.ENCRYPT, true], [CKA.WRAP, true]),
    of(
      ...([
        [CKA.TOKEN, true],
        [CKA.SIGN, true],
        [CKA.SIGN_RECOVER, true],
      ] as const),
      ...([
        [CKA.DECRYPT, true],
        [CKA.UNWRAP, true],
      ] as const),
    ),
  )) as [number, number];
}

describe("wrapped keys", () => {
  const value = fresh(32);
  let wrapping: number;
  beforeAll(async () => {
    wrapping = await secretKey(
      CKK.AES,
      value,
      ...([
        [CKA.TOKEN, true],
        [CKA.LABEL, bytes("wrapping")],
        [CKA.WRAP, true],
        [CKA.UNWRAP, true],
      ] as const),
    );
  });
  const iv = fresh(16);
  const sealedUnder = (plain: Uint8Array) => {
    const peer = createCipheriv("aes-256-cbc", value, iv);
    return new Uint8Array(Buffer.concat([peer.update(plain), peer.final()]));
  };

  it("one key of the vault leaves it under another, when it was made so, and comes back as what it was", async () => {
    const inner = fresh(32);
    const leaving = await secretKey(
      CKK.AES,
      inner,
      ...([
        [CKA.TOKEN, true],
        [CKA.EXTRACTABLE, true],
        [CKA.LABEL, bytes("leaving")],
      ] as const),
    );
    const staying = await secretKey(CKK.AES, inner, [CKA.TOKEN, true], [CKA.EXTRACTABLE, false]);
    expect(await rv("WrapKey", session, by(CKM.AES_CBC_PAD, iv), wrapping, staying, 100)).toBe(CKR.KEY_UNEXTRACTABLE);
    const sealed = await one<Uint8Array>("WrapKey", session, by(CKM.AES_CBC_PAD, iv), wrapping, leaving, 100);
    expect(sealed).toEqual(sealedUnder(inner));
    const back = await one<number>(
      "UnwrapKey",
      ...[session, by(CKM.AES_CBC_PAD, iv), wrapping, sealed],
      of([CKA.CLASS, CKO.SECRET_KEY], [CKA.KEY_TYPE, CKK.AES], [CKA.TOKEN, true], [CKA.ENCRYPT, true]),
    );
    await done("EncryptInit", session, by(CKM.AES_ECB), back);
    const peer = createCipheriv("aes-256-ecb", inner, null).setAutoPadding(false);
    expect(await one("Encrypt", session, value.subarray(0, 16), 16)).toEqual(
      new Uint8Array(peer.update(value.subarray(0, 16))),
    );
  });

  it.each([
    ["EC", CKK.EC, CKM.ECDSA_SHA256, () => generateKeyPairSync("ec", { namedCurve: "P-384" })],
    ["RSA", CKK.RSA, CKM.SHA256_RSA_PKCS, () => generateKeyPairSync("rsa", { modulusLength: 2048 })],
  ] as const)("takes in a wrapped private key: %s", async (name, keyType, mechanism, generate) => {
    const { privateKey, publicKey } = generate();
    const sealed = sealedUnder(new Uint8Array(privateKey.export({ format: "der", type: "pkcs8" })));
    const template = (...more: (readonly [number, unknown])[]) =>
      of([CKA.CLASS, CKO.PRIVATE_KEY], [CKA.KEY_TYPE, keyType], [CKA.LABEL, bytes(`in-${name}`)], ...more);
    const unwrap = (...args: unknown[]) => rv("UnwrapKey", session, by(CKM.AES_CBC_PAD, iv), wrapping, ...args);
    expect(await unwrap(sealed, template()), "not for a session").toBe(CKR.TEMPLATE_INCONSISTENT);
    const key = await one<number>(
      "UnwrapKey",
      ...[session, by(CKM.AES_CBC_PAD, iv), wrapping, sealed, template([CKA.TOKEN, true], [CKA.SIGN, true])],
    );
    const message = fresh(70);
    await done("SignInit", session, by(mechanism), key);
    const signature = await one<Uint8Array>("Sign", session, message, 256);
    expect(verify("sha256", message, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
    expect(await attributeOf(key, CKA.LOCAL)).toBe(false);
    expect(await rv("GetAttributeValue", session, key, [{ type: CKA.PRIVATE_EXPONENT, room: 999 }])).not.toBe(CKR.OK);
    const broken = await unwrap(sealedUnder(fresh(50)), template([CKA.TOKEN, true]));
    expect(broken).toBe(CKR.WRAPPED_KEY_INVALID);
    expect(await unwrap(sealedUnder(fresh(50)), template([CKA.TOKEN, true], [CKA.KEY_TYPE, 99]))).not.toEqual([]);
  });

  it("takes in for a session what came under RSA", async () => {
    const [pub, priv] = await rsaPair("under-rsa");
    const info = (await attributeOf(pub, CKA.PUBLIC_KEY_INFO)) as Uint8Array;
    const key = createPublicKey({ key: Buffer.from(info), format: "der", type: "spki" });
    const inner = fresh(32);
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const sealed = new Uint8Array(publicEncrypt({ key, padding, oaepHash: "sha256" }, inner));
    const oaep = by(CKM.RSA_PKCS_OAEP, CKM.SHA256, 2, 1, new Uint8Array(0));
    const template = of(
      ...([
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      ] as const),
      ...([
        [CKA.SENSITIVE, false],
        [CKA.EXTRACTABLE, true],
      ] as const),
    );
    const own = await one<number>("UnwrapKey", session, oaep, priv, sealed, template);
    expect(await attributeOf(own, CKA.VALUE)).toEqual(inner);
    sealed[7] = (sealed[7] ?? 0) ^ 1;
    expect(await rv("UnwrapKey", session, oaep, priv, sealed, template)).toBe(CKR.ENCRYPTED_DATA_INVALID);
  });
});

describe("copies and changes", () => {
  it("a copy of a session key goes its own way", async () => {
    const key = await secretKey(CKK.AES, fresh(16), [CKA.SENSITIVE, false], [CKA.LABEL, bytes("first")]);
    const copy = await one<number>("CopyObject", session, key, of([CKA.LABEL, bytes("second")], [CKA.SENSITIVE, true]));
    expect([await attributeOf(key, CKA.LABEL), await attributeOf(copy, CKA.LABEL)]).toEqual([
      bytes("first"),
      bytes("second"),
    ]);
    expect(await attributeOf(key, CKA.VALUE)).toHaveLength(16);
    expect(await attributeOf(copy, CKA.VALUE)).toBe(null);
    await done("DestroyObject", session, key);
    expect(await rv("EncryptInit", session, by(CKM.AES_ECB), key)).toBe(CKR.KEY_HANDLE_INVALID);
    await done("EncryptInit", session, by(CKM.AES_ECB), copy);
    await done("Encrypt", session, fresh(16), 16);
    // What was made sensitive stays so.
    expect(await rv("CopyObject", session, copy, of([CKA.SENSITIVE, false]))).toBe(CKR.ATTRIBUTE_READ_ONLY);
    expect(await rv("SetAttributeValue", session, copy, of([CKA.SENSITIVE, false]))).toBe(CKR.ATTRIBUTE_READ_ONLY);
  });

  it("a session key shows its value no more once it may not leave", async () => {
    for (const [flag, now] of [
      [CKA.EXTRACTABLE, false],
      [CKA.SENSITIVE, true],
    ] as const) {
      const key = await secretKey(CKK.AES, fresh(16), [CKA.SENSITIVE, false], [CKA.EXTRACTABLE, true]);
      await done("SetAttributeValue", session, key, of([flag, now]));
      const [, answer] = await done("GetAttributeValue", session, key, [{ type: CKA.VALUE, room: 99 }]);
      expect(answer).toBe(CKR.ATTRIBUTE_SENSITIVE);
      expect(await find([CKA.VALUE, fresh(16)])).toEqual([]);
    }
  });

  it("what forbids copies, changes or its end is obeyed", async () => {
    const plain = of([CKA.CLASS, CKO.DATA], [CKA.VALUE, bytes("data")]);
    const made = (flag: number) => one<number>("CreateObject", session, [...plain, ...of([flag, false])]);
    expect(await rv("CopyObject", session, await made(CKA.COPYABLE), [])).toBe(CKR.ACTION_PROHIBITED);
    const fixed = await made(CKA.MODIFIABLE);
    expect(await rv("SetAttributeValue", session, fixed, of([CKA.LABEL, bytes("x")]))).toBe(CKR.ATTRIBUTE_READ_ONLY);
    const kept = await made(CKA.DESTROYABLE);
    expect(await rv("DestroyObject", session, kept)).toBe(CKR.ACTION_PROHIBITED);
  });

  it("a key of the vault is not copied, and takes another name for everybody", async () => {
    const key = await secretKey(CKK.AES, fresh(32), [CKA.TOKEN, true], [CKA.LABEL, bytes("before")]);
    expect(await rv("CopyObject", session, key, of([CKA.TOKEN, true]))).toBe(CKR.ACTION_PROHIBITED);
    const rights = of([CKA.EXTRACTABLE, true]);
    expect(await rv("SetAttributeValue", session, key, rights)).toBe(CKR.ATTRIBUTE_READ_ONLY);
    await done("SetAttributeValue", session, key, of([CKA.LABEL, bytes("after")], [CKA.ID, bytes("id")]));
    expect((await lab.thornkey.keys.show("after")).type).toBe("aes256");
    const other = await openWireClient(lab.socket);
    const [own] = (await other.call("OpenSession", 0, 4)) as [number];
    expect(await other.call("FindObjectsInit", own, of([CKA.ID, bytes("id")]))).toEqual([]);
    expect(await other.call("FindObjects", own, 9)).toEqual([[key]]);
    // A read-only session changes nothing that stays.
    expect(await other.call("SetAttributeValue", own, key, of([CKA.LABEL, bytes("x")]))).toBe(CKR.SESSION_READ_ONLY);
    expect(await other.call("DestroyObject", own, key)).toBe(CKR.SESSION_READ_ONLY);
    other.close();
  });

  it("data of the vault are changed, copied and destroyed, and outlive the program", async () => {
    const data = await one<number>(
      "CreateObject",
      session,
      of([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true], [CKA.LABEL, bytes("notes")], [CKA.VALUE, bytes("one")]),
    );
    await done("SetAttributeValue", session, data, of([CKA.VALUE, bytes("two")]));
    const copy = await one<number>("CopyObject", session, data, of([CKA.LABEL, bytes("copy")]));
    expect(await attributeOf(copy, CKA.VALUE)).toEqual(bytes("two"));
    await done("DestroyObject", session, data);
    expect(await find([CKA.CLASS, CKO.DATA], [CKA.TOKEN, true])).toEqual([copy]);
    expect(await rv("GetAttributeValue", session, data, [{ type: CKA.VALUE, room: 9 }])).toBe(
      CKR.OBJECT_HANDLE_INVALID,
    );
  });
});

describe("what changes by another door", () => {
  it("shows at once at a connection that has looked before", async () => {
    const labelled = (label: string) => find([CKA.LABEL, bytes(label)], [CKA.CLASS, CKO.PRIVATE_KEY]);
    expect(await labelled("other-door")).toEqual([]);
    expect(await labelled("other-door")).toEqual([]);
    const { id } = await lab.thornkey.keys.create({ name: "other-door", type: "p256", policy: lab.mine });
    const [handle] = await labelled("other-door");
    expect(handle).toBeDefined();
    await lab.thornkey.call("key.rename", { key: id, name: "renamed-there" });
    expect(await labelled("other-door")).toEqual([]);
    expect(await labelled("renamed-there")).toEqual([handle]);
    const { id: data } = await lab.thornkey.objects.create({ name: "fact", class: "data", value: bytes("one") });
    expect(await find([CKA.LABEL, bytes("fact")])).toHaveLength(1);
    await lab.thornkey.objects.delete(data);
    expect(await find([CKA.LABEL, bytes("fact")])).toEqual([]);
    await lab.killVault();
    await lab.startVault();
    expect(await labelled("renamed-there")).toEqual([handle]);
    await lab.thornkey.keys.delete(id);
    expect(await labelled("renamed-there")).toEqual([]);
    expect(await rv("SignInit", session, by(CKM.ECDSA), handle)).toBe(CKR.KEY_HANDLE_INVALID);
  });
});
