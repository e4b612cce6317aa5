import {
  createECDH,
  createHash,
  createPublicKey,
  createVerify,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  pbkdf2Sync,
  sign,
  verify,
} from "node:crypto";
import { readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { p256 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VerificationError, Zymkey, ZymkeyLibraryError } from "../../../src/client/zymkey/index.ts";
import { spkiOf } from "../../../src/operations/public-keys.ts";
import { codeOf, openZymkeyLab, type ZymkeyLab } from "./lab.ts";

let lab: ZymkeyLab;
let zymkey: Zymkey;
beforeAll(async () => {
  lab = await openZymkeyLab();
  zymkey = lab.zymkey();
});
afterAll(() => lab.close());

const message = new Uint8Array([0xff, 0xfe, 0x00, 0x80, 0x41]);
const sha256 = (data: Uint8Array | string) => createHash("sha256").update(data);
const raw = (spki: Buffer) => new Uint8Array(spki.subarray(-64));
const plain = (bytes: Uint8Array) => new Uint8Array(bytes);

function verifies(publicKey: Uint8Array, data: Uint8Array | string, signature: Uint8Array, digest = "sha256"): boolean {
  const key = createPublicKey({ key: Buffer.from(spkiOf("p256", publicKey)), format: "der", type: "spki" });
  return createVerify(digest).update(data).verify({ key, dsaEncoding: "ieee-p1363" }, signature);
}

describe("signatures", () => {
  it("are over bytes as they are, with the keys that are always there", async () => {
    for (const slot of [0, 1, 2]) {
      const signature = await zymkey.sign(message, slot);
      expect(signature.length).toBe(64);
      expect(verifies(await zymkey.get_public_key(slot), message, signature)).toBe(true);
      expect(await zymkey.verify(message, signature, true, slot)).toBe(true);
    }
    const keys = [await zymkey.get_public_key(), await zymkey.get_public_key(1)];
    expect(keys[0]).not.toEqual(keys[1]);
    // What somebody removed is made anew.
    await lab.thornkey.keys.delete("zymkey-slot-2");
    expect(await zymkey.verify(message, await zymkey.sign(message, 2), true, 2)).toBe(true);
    // One after the other they have the same ones, and the first are inside the root.
    expect(await lab.zymkey().get_public_key()).toEqual(keys[0]);
    expect((await lab.thornkey.keys.show("zymkey-slot-0")).protection).toBe("resident");
  });

  it("are over text in the encoding that is named", async () => {
    const text = "Grüße";
    const utf8 = await zymkey.sign(text);
    expect(verifies(await zymkey.get_public_key(), Buffer.from(text, "utf8"), utf8)).toBe(true);
    expect(await zymkey.verify(text, utf8)).toBe(true);
    const latin = await zymkey.sign(text, 0, false, "latin1");
    expect(verifies(await zymkey.get_public_key(), Buffer.from(text, "latin1"), latin)).toBe(true);
    expect(await zymkey.verify(text, latin, false)).toBe(false);
    expect(await zymkey.verify(text, latin, true, 0, false, "latin1")).toBe(true);
    expect(await codeOf(zymkey.sign(text, 0, false, "ascii"))).toBe("USAGE");
    expect(await codeOf(zymkey.sign(text, 0, false, "klingon"))).toBe("USAGE");
  });

  it("that do not fit are an error, or false", async () => {
    const signature = await zymkey.sign(message);
    const other = Uint8Array.of(1, ...message);
    await expect(zymkey.verify(other, signature)).rejects.toBeInstanceOf(VerificationError);
    for (const wrong of [signature.slice(1), new Uint8Array(0), new Uint8Array(5000)]) {
      await expect(zymkey.verify(message, wrong)).rejects.toBeInstanceOf(VerificationError);
    }
    expect(await zymkey.verify(other, signature, false)).toBe(false);
    await expect(zymkey.verify_digest(sha256(other), signature)).rejects.toBeInstanceOf(VerificationError);
    expect(await zymkey.verify_digest(sha256(other), signature, false)).toBe(false);
  });

  it("are over a digest that is there already, or a hash that goes on", async () => {
    const publicKey = await zymkey.get_public_key();
    const signature = await zymkey.sign_digest(sha256(message));
    expect(verifies(publicKey, message, signature)).toBe(true);
    expect(await zymkey.verify_digest(sha256(message), signature)).toBe(true);
    expect(await zymkey.verify_digest(plain(sha256(message).digest()), signature)).toBe(true);
    const begun = await zymkey.sign(message, 0, false, "utf-8", sha256("before "));
    expect(verifies(publicKey, Buffer.concat([Buffer.from("before "), message]), begun)).toBe(true);
    expect(await codeOf(zymkey.sign_digest(createHash("md5").update("m")))).toBe("USAGE");
    const used = sha256(message);
    used.digest();
    expect(await codeOf(zymkey.sign_digest(used))).toBe("USAGE");
    expect(await codeOf(zymkey.sign(message, 0, false, "utf-8", used))).toBe("USAGE");
    expect(await codeOf(zymkey.sign(message, 0, false, "utf-8", "whirlpool"))).toBe("USAGE");
  });

  it("are over other digests, and over more than goes to the vault", async () => {
    const slot = await zymkey.gen_key_pair("secp256r1");
    const publicKey = await zymkey.get_public_key(slot);
    for (const digest of ["sha384", "SHA-512"]) {
      const signature = await zymkey.sign(message, slot, false, "utf-8", digest);
      expect(verifies(publicKey, message, signature, digest.replace("-", ""))).toBe(true);
      expect(await zymkey.verify(message, signature, true, slot, false, "utf-8", digest)).toBe(true);
    }
    const much = new Uint8Array(200_000).fill(7);
    const signature = await zymkey.sign(much, slot);
    expect(verifies(publicKey, much, signature)).toBe(true);
    expect(await zymkey.verify(much, signature, true, slot)).toBe(true);
    await zymkey.remove_key(slot);
  });

  it("of Ed25519 are over the message itself", async () => {
    const slot = await zymkey.gen_key_pair("ed25519");
    const signature = await zymkey.sign(message, slot);
    const publicKey = await zymkey.get_public_key(slot);
    expect(publicKey.length).toBe(32);
    const key = createPublicKey({ key: Buffer.from(spkiOf("ed25519", publicKey)), format: "der", type: "spki" });
    expect(verify(null, message, key, signature)).toBe(true);
    expect(await zymkey.verify(message, signature, true, slot)).toBe(true);
    expect(await codeOf(zymkey.sign(message, slot, true))).toBe("USAGE");
    await zymkey.remove_key(slot);
  });

  it.each(["nistp256", "secp256k1"] as const)("of %s have the recovery id, a number", async (type) => {
    const slot = await zymkey.gen_key_pair(type);
    const { Point } = type === "nistp256" ? p256 : secp256k1;
    const Q = Point.fromBytes(Uint8Array.of(4, ...(await zymkey.get_public_key(slot))));
    const numberOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (data) => {
        const [signature, recid] = await zymkey.sign(data, slot, true);
        // SEC 1, 4.1.4: R is what the verifier calculates; the id is the parity of its y.
        const [r, s, z] = [signature.slice(0, 32), signature.slice(32), sha256(data).digest()].map(numberOf);
        const { Fn } = Point;
        const w = Fn.inv(s ?? 0n);
        const R = Point.BASE.multiply(Fn.mul(Fn.create(z ?? 0n), w))
          .add(Q.multiply(Fn.mul(r ?? 0n, w)))
          .toAffine();
        expect(recid).toBe(Number(R.y & 1n));
        expect(R.x).toBe(r);
        const [again, id] = await zymkey.sign_digest(sha256(data), slot, true);
        expect(again.length).toBe(64);
        seen.add(recid).add(id);
      }),
      { numRuns: 10 },
    );
    expect([...seen].sort()).toEqual([0, 1]);
    await zymkey.remove_key(slot);
  });
});

describe("public keys", () => {
  it("are files in PEM wherever this process may write", async () => {
    const file = lab.path("public.pem");
    expect(await zymkey.create_public_key_file(file)).toBe(0);
    const der = createPublicKey(readFileSync(file, "utf8")).export({ type: "spki", format: "der" });
    expect(raw(der)).toEqual(await zymkey.get_public_key());
    const old = lab.path("old.pem");
    await zymkey.create_ecdsa_public_key_file(old, 1);
    expect(raw(createPublicKey(readFileSync(old, "utf8")).export({ type: "spki", format: "der" }))).toEqual(
      await zymkey.get_ecdsa_public_key(1),
    );
  });

  it("are not written where there is no place", async () => {
    expect(await codeOf(zymkey.create_public_key_file(lab.path("no/folder")))).toBe("FILE_NOT_FOUND");
    expect(await codeOf(zymkey.create_random_file(lab.path("no/folder"), 1))).toBe("FILE_NOT_FOUND");
  });

  it("cannot be locked away, and the reason is told", async () => {
    expect(await codeOf(zymkey.disable_public_key_export())).toBe("NOT_SUPPORTED");
  });
});

describe("slots", () => {
  it("count from 16, are told, and become free again", async () => {
    const before = (await zymkey.get_slot_alloc_list())[0].filter((slot) => slot >= 16);
    expect(before).toEqual([]);
    const slots = [];
    for (const type of ["nistp256", "secp256k1", "ed25519", "x25519"] as const)
      slots.push(await zymkey.gen_key_pair(type));
    expect(slots).toEqual([16, 17, 18, 19]);
    const [listed, maximum] = await zymkey.get_slot_alloc_list();
    expect(listed).toEqual(expect.arrayContaining([0, ...slots]));
    expect(maximum).toBe(515);
    expect(await zymkey.remove_key(17)).toBe(0);
    expect(await codeOf(zymkey.get_public_key(17))).toBe("KEY_NOT_FOUND");
    expect(await zymkey.gen_key_pair("secp256k1")).toBe(17);
    for (const slot of slots) await zymkey.remove_key(slot);
    expect(await codeOf(zymkey.gen_key_pair("rsa" as never))).toBe("USAGE");
    expect(await codeOf(zymkey.gen_key_pair("constructor" as never))).toBe("USAGE");
  });

  it("are never given out twice", async () => {
    const units = [lab.zymkey(), lab.zymkey(), lab.zymkey()];
    const slots = await Promise.all(Array.from({ length: 12 }, (_, at) => units[at % 3]!.gen_key_pair("ed25519")));
    expect(new Set(slots).size).toBe(12);
    expect([...slots].sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, at) => 16 + at));
    for (const slot of slots) await zymkey.remove_key(slot);
  });

  it("that do not exist are an error, and the vault goes on", async () => {
    const numbers = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(3, 15, 528, -2, 1e9, Number.NaN));
    await fc.assert(
      fc.asyncProperty(numbers, async (slot) => {
        if ([-1, 0, 1, 2].includes(slot) || (Number.isInteger(slot) && slot >= 16 && slot <= 527)) return;
        expect(await codeOf(zymkey.get_public_key(slot))).toBe("USAGE");
        expect(await codeOf(zymkey.sign(message, slot))).toBe("USAGE");
        expect(await codeOf(zymkey.remove_key(slot))).toBe("USAGE");
      }),
    );
    expect(await codeOf(zymkey.remove_key(0))).toBe("NOT_PERMITTED");
    expect((await zymkey.get_public_key()).length).toBe(64);
  });
});

describe("the ephemeral key", () => {
  it("is in slot -1, of this unit alone, and made anew each time", async () => {
    const other = lab.zymkey();
    expect(await codeOf(zymkey.get_public_key(Zymkey.EPHEMERAL_KEY_SLOT))).toBe("KEY_NOT_FOUND");
    expect(await zymkey.gen_ephemeral_key_pair("nistp256")).toBe(0);
    expect(await other.gen_ephemeral_key_pair("x25519")).toBe(0);
    const first = await zymkey.get_public_key(-1);
    expect(verifies(first, message, await zymkey.sign(message, -1))).toBe(true);
    expect((await other.get_public_key(-1)).length).toBe(32);
    await zymkey.gen_ephemeral_key_pair("nistp256");
    expect(await zymkey.get_public_key(-1)).not.toEqual(first);
    expect((await zymkey.get_slot_alloc_list())[0]).not.toContain(-1);
    expect(await zymkey.invalidate_ephemeral_key()).toBe(0);
    expect(await codeOf(zymkey.invalidate_ephemeral_key())).toBe("KEY_NOT_FOUND");
    expect(await codeOf(zymkey.sign(message, -1))).toBe("KEY_NOT_FOUND");
    await other.close();
    const left = [];
    for await (const { name } of lab.thornkey.keys.list()) if (name.includes("ephemeral")) left.push(name);
    expect(left).toEqual([]);
  });

  it("of a process that was killed goes with the next one", async () => {
    const namespace = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0];
    const name = `zymkey-ephemeral-${namespace}-4194303-123456-00000000`;
    await lab.thornkey.keys.create({ name, type: "p256" });
    await zymkey.gen_ephemeral_key_pair("nistp256");
    expect(await codeOf(lab.thornkey.keys.show(name))).toBe("KEY_NOT_FOUND");
    await zymkey.invalidate_ephemeral_key();
  });
});

describe("ecdh", () => {
  it("agrees with a key somebody sent, on every curve that can", async () => {
    for (const [type, curve] of [
      ["nistp256", "prime256v1"],
      ["secp256k1", "secp256k1"],
    ] as const) {
      const slot = await zymkey.gen_key_pair(type);
      const peer = createECDH(curve);
      const point = plain(peer.generateKeys());
      const mine = Buffer.from(Uint8Array.of(4, ...(await zymkey.get_public_key(slot))));
      const secret = plain(peer.computeSecret(mine));
      expect(await zymkey.ecdh(slot, point.slice(1))).toEqual(secret);
      expect(await zymkey.ecdh(slot, point)).toEqual(secret);
      expect(await codeOf(zymkey.ecdh(slot, point.slice(2)))).toBe("MALFORMED");
      await zymkey.remove_key(slot);
    }
    await zymkey.gen_ephemeral_key_pair("x25519");
    const peer = generateKeyPairSync("x25519");
    const publicKey = createPublicKey({
      key: Buffer.from(spkiOf("x25519", await zymkey.get_public_key(-1))),
      ...{ format: "der", type: "spki" },
    });
    const point = plain(peer.publicKey.export({ type: "spki", format: "der" }).subarray(-32));
    expect(await zymkey.ecdh(-1, point)).toEqual(plain(diffieHellman({ privateKey: peer.privateKey, publicKey })));
    expect(await codeOf(zymkey.ecdh(-1, new Uint8Array(32)))).toBe("MALFORMED");
    await zymkey.invalidate_ephemeral_key();
  });

  it("agrees with a key in another slot, and derives from what it agreed", async () => {
    const [one, two] = [await zymkey.gen_key_pair("nistp256"), await zymkey.gen_key_pair("nistp256")];
    const secret = await zymkey.ecdh(one, two, "none", [], [], 1, false);
    expect(await zymkey.ecdh(two, one, "none", [], [], 1, false)).toEqual(secret);
    const [salt, info] = [[1, 2, 3], Uint8Array.of(4, 5)];
    for (const digest of ["sha256", "sha512"] as const) {
      const hkdf = hkdfSync(digest, secret, Uint8Array.from(salt), info, 100);
      expect(await zymkey.ecdh(one, two, `rfc5869-${digest}`, salt, info, 1, false, 100)).toEqual(new Uint8Array(hkdf));
      const pbkdf2 = pbkdf2Sync(secret, Uint8Array.from(salt), 1000, 48, digest);
      expect(await zymkey.ecdh(one, two, `pbkdf2-${digest}`, salt, [], 1000, false, 48)).toEqual(plain(pbkdf2));
    }
    const wrong = [
      ["rfc5869-sha256", [], [], 1, 8161],
      ["rfc5869-sha512", [], [], 1, 16_321],
      ["rfc5869-sha256", [], [], 1, 0],
      ["rfc5869-sha256", Array(129).fill(0), [], 1, 32],
      ["rfc5869-sha256", [], Array(129).fill(0), 1, 32],
      ["pbkdf2-sha256", [], [], 0, 32],
      ["toString", [], [], 1, 32],
    ] as const;
    for (const [kdf, salt, info, iterations, size] of wrong) {
      expect(await codeOf(zymkey.ecdh(one, two, kdf as "none", salt, info, iterations, false, size))).toBe("USAGE");
    }
    // A slot in silicon signs or agrees.
    expect(await codeOf(zymkey.ecdh(0, two, "none", [], [], 1, false))).toBe("NOT_PERMITTED");
    for (const slot of [one, two]) await zymkey.remove_key(slot);
  });
});

describe("foreign keys", () => {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const point = raw(pair.publicKey.export({ type: "spki", format: "der" }));

  it("are kept by number, and signatures are checked with them", async () => {
    const slot = await zymkey.store_foreign_public_key("nistp256", point);
    expect(slot).toBe(0);
    expect(await zymkey.get_public_key(slot, true)).toEqual(point);
    const signature = plain(sign("sha256", message, { key: pair.privateKey, dsaEncoding: "ieee-p1363" }));
    expect(await zymkey.verify(message, signature, true, slot, true)).toBe(true);
    expect(await zymkey.verify_digest(sha256(message), signature, true, slot, true)).toBe(true);
    expect(await zymkey.verify(Uint8Array.of(1), signature, false, slot, true)).toBe(false);
    await expect(zymkey.verify(message, signature.slice(1), true, slot, true)).rejects.toBeInstanceOf(
      VerificationError,
    );
    const file = lab.path("foreign.pem");
    await zymkey.create_public_key_file(file, slot, true);
    expect(raw(createPublicKey(readFileSync(file)).export({ type: "spki", format: "der" }))).toEqual(point);
    const own = await zymkey.gen_key_pair("nistp256");
    const mine = createPublicKey({
      key: Buffer.from(spkiOf("p256", await zymkey.get_public_key(own))),
      ...{ format: "der", type: "spki" },
    });
    expect(await zymkey.ecdh(own, slot)).toEqual(
      plain(diffieHellman({ privateKey: pair.privateKey, publicKey: mine })),
    );
    expect(await zymkey.get_slot_alloc_list(true)).toEqual([[slot], 128]);
    expect(await codeOf(zymkey.disable_public_key_export(slot, true))).toBe("NOT_SUPPORTED");
    expect(await zymkey.remove_key(slot, true)).toBe(0);
    expect(await codeOf(zymkey.get_public_key(slot, true))).toBe("KEY_NOT_FOUND");
    expect(await codeOf(zymkey.get_public_key(128, true))).toBe("USAGE");
    await zymkey.remove_key(own);
  });

  it("of all types, in slots that are never given out twice, 128 of them", async () => {
    const units = [lab.zymkey(), lab.zymkey()];
    const slots = await Promise.all(
      Array.from({ length: 6 }, (_, at) =>
        units[at % 2]!.store_foreign_public_key("secp256k1", plain(secp256k1.Point.BASE.toBytes(false))),
      ),
    );
    expect(new Set(slots).size).toBe(6);
    for (const slot of slots) await zymkey.remove_key(slot, true);
    const edwards = generateKeyPairSync("ed25519");
    const bytes = plain(edwards.publicKey.export({ type: "spki", format: "der" }).subarray(-32));
    const slot = await zymkey.store_foreign_public_key("ed25519", bytes);
    expect(await zymkey.verify(message, plain(sign(null, message, edwards.privateKey)), true, slot, true)).toBe(true);
    expect(await codeOf(zymkey.store_foreign_public_key("ed25519", point))).toBe("MALFORMED");
    for (let at = 0; at < 127; at++) await zymkey.store_foreign_public_key("x25519", bytes);
    expect(await codeOf(zymkey.store_foreign_public_key("x25519", bytes))).toBe("LIMIT_REACHED");
  });
});

describe("random bytes", () => {
  it("are as many as were asked for, in memory and in a file", async () => {
    const some = await zymkey.get_random(32);
    expect(some.length).toBe(32);
    expect(some).not.toEqual(await zymkey.get_random(32));
    expect((await zymkey.get_random(0)).length).toBe(0);
    expect((await zymkey.get_random(150_001)).length).toBe(150_001);
    const file = lab.path("random");
    await zymkey.create_random_file(file, 100_000);
    expect(statSync(file)).toMatchObject({ size: 100_000 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await codeOf(zymkey.get_random(-1))).toBe("USAGE");
    expect(await codeOf(zymkey.get_random(1.5))).toBe("USAGE");
  });
});

describe("locked objects", () => {
  it("go from bytes and files to bytes and files, and back", async () => {
    const [file, locked, opened] = [lab.path("plain"), lab.path("locked"), lab.path("opened")];
    writeFileSync(file, message);
    for (const source of [message, file]) {
      const bytes = await zymkey.lock(source);
      expect(await zymkey.unlock(bytes ?? new Uint8Array(0))).toEqual(message);
      expect(await zymkey.lock(source, locked)).toBeNull();
      expect(await zymkey.unlock(locked)).toEqual(message);
      expect(await zymkey.unlock(locked, opened)).toBeNull();
      expect(plain(readFileSync(opened))).toEqual(message);
      expect(await zymkey.unlock(bytes ?? new Uint8Array(0), opened)).toBeNull();
      expect(plain(readFileSync(opened))).toEqual(message);
    }
    // 'age' would read it.
    expect(readFileSync(locked, "latin1")).toMatch(/^age-encryption\.org\/v1\n/);
    const much = new Uint8Array(3_000_000).fill(9);
    expect(await zymkey.unlock((await zymkey.lock(much)) ?? message)).toEqual(much);
    const empty = new Uint8Array(0);
    expect(await zymkey.unlock((await zymkey.lock(empty)) ?? message)).toEqual(empty);
  });

  it("that were changed do not open, and nothing comes out", async () => {
    const locked = (await zymkey.lock(message)) ?? new Uint8Array(0);
    locked[locked.length - 1]! ^= 1;
    await expect(zymkey.unlock(locked)).rejects.toBeInstanceOf(VerificationError);
    expect(await zymkey.unlock(locked, null, "zymkey", false)).toBeNull();
    await expect(zymkey.unlock(Uint8Array.of(1, 2, 3))).rejects.toBeInstanceOf(VerificationError);
    expect(await codeOf(zymkey.unlock(lab.path("missing"), null, "zymkey", false))).toBe("FILE_NOT_FOUND");
  });

  it("are not locked to a cloud", async () => {
    expect(await codeOf(zymkey.lock(message, null, "cloud"))).toBe("NOT_SUPPORTED");
    expect(await codeOf(zymkey.unlock(message, null, "cloud"))).toBe("NOT_SUPPORTED");
    expect(await codeOf(zymkey.lock(message, null, "zymbit" as never))).toBe("USAGE");
  });
});

it("says that there is no unit, and connects when there is one", async () => {
  const nowhere = new Zymkey({ run: lab.path("nowhere"), patience: 10 });
  await expect(nowhere.get_random(1)).rejects.toBeInstanceOf(ZymkeyLibraryError);
  expect(await codeOf(nowhere.get_random(1))).toBe("VAULT_UNAVAILABLE");
  await nowhere.close();
  const shared = new Zymkey({ thornkey: lab.thornkey });
  expect((await shared.get_random(4)).length).toBe(4);
  await shared.close();
  expect(await lab.thornkey.status()).toMatchObject({ ready: true });
});
