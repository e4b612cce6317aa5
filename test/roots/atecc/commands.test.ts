import { createCipheriv, createHash, createHmac, createPublicKey, randomBytes, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { concat } from "../../../src/bytes/bytes.ts";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { p256Spki } from "../../../src/bytes/der.ts";
import { blankConfig } from "../../../src/emulators/atecc508a/blank.ts";
import type { Model } from "../../../src/emulators/atecc508a/chip.ts";
import type { Chip } from "../../../src/roots/atecc/chip.ts";
import * as command from "../../../src/roots/atecc/commands.ts";
import * as command608 from "../../../src/roots/atecc/commands608.ts";
import { CONFIG, configWords } from "../../../src/roots/atecc/config.ts";
import {
  lockConfig,
  lockData,
  lockSlot,
  readConfig,
  readOtp,
  readSlot,
  slotWrites,
  writesOf,
} from "../../../src/roots/atecc/conversations.ts";
import * as digest from "../../../src/roots/atecc/digests.ts";
import { laboratory } from "./in-process.ts";

// Every typed command against the emulator: what the driver sends and what it computes must be what the chip means.

const SECRET = new Uint8Array(32).map((_, index) => index + 1);
const OTHER = new Uint8Array(32).map((_, index) => 0xff - index);

/** What the slots of the chip under test are for: SlotConfig, KeyConfig. */
const SLOTS: Readonly<Record<number, readonly [number, number, string]>> = {
  0: [0x2083, 0x0033, "signs, anything and its own messages"],
  1: [0x2087, 0x0033, "agrees"],
  2: [0x4080 | (3 << 8), 0x0013, "private key that is imported under slot 3"],
  3: [0x0080, 0x001c, "secret: MAC, encrypts the bus"],
  4: [0x2080, 0x001c, "secret that rolls"],
  5: [0xb080 | (3 << 8), 0x001c, "secret made from slot 3, with a MAC"],
  6: [0x40c0 | (3 << 8) | 3, 0x001c, "secret, read and written under slot 3"],
  8: [0x0000, 0x003c, "open data"],
  9: [0x0000 | 10, 0x0012, "public key that slot 10 validates"],
  10: [0x0000, 0x0010, "public key of slot 0, the validating parent"],
  11: [0x0080, 0x0018, "AES key (608)"],
};

async function chipOf(model: Model): Promise<Chip> {
  const config = blankConfig(model);
  const word = (index: 0 | 1) => Array.from({ length: 16 }, (_, slot) => SLOTS[slot]?.[index] ?? (index ? 0x001c : 0));
  config.set(configWords(word(0)), CONFIG.slotConfig);
  config.set(configWords(word(1)), CONFIG.keyConfig);
  config[18] = model === "508a" ? 0x55 : 0;
  if (model === "608a") config[13] = 1;
  const chip = await laboratory({ model, config, timing: "none" }).open();
  await lockConfig(chip, crc16((await readConfig(chip)).bytes));
  const padded = (secret: Uint8Array, size: number) => concat(secret, new Uint8Array(size - secret.length));
  for (const slot of [3, 4, 5, 6]) await chip.run(...slotWrites(slot, padded(SECRET, 36)));
  await chip.run(...slotWrites(11, padded(OTHER, 72)));
  const [point] = await chip.run(command.GenKeyCreate(0));
  await chip.run(command.GenKeyCreate(1));
  await chip.run(...slotWrites(10, publicSlot(point)));
  await chip.run(...writesOf("otp", 0, new Uint8Array(64).fill(0xf0)));
  await lockData(chip);
  return chip;
}

/** Layout of a public key in a slot: four bytes, X, four bytes, Y. */
function publicSlot(point: Uint8Array): Uint8Array {
  return concat(new Uint8Array(4), point.subarray(0, 32), new Uint8Array(4), point.subarray(32));
}

/** A random TempKey that both sides know. */
async function withTempKey<Result>(
  chip: Chip,
  talk: (run: Chip["run"], tempKey: Uint8Array) => Promise<Result>,
): Promise<Result> {
  return chip.exclusive(async ({ run }) => {
    const input = new Uint8Array(20).fill(7);
    const [random] = await run(command.NonceRandom(input.slice()));
    return talk(run, digest.nonceTempKey(random, input, 0));
  });
}

function ecdsa(point: Uint8Array) {
  const key = createPublicKey({ key: Buffer.from(p256Spki(point)), format: "der", type: "spki" });
  return { key, dsaEncoding: "ieee-p1363" } as const;
}

describe.each(["508a", "608a"] as const)("the typed commands on a %s", (model) => {
  it("MAC, with each part from each source", async () => {
    const chip = await chipOf(model);
    const otp = await readOtp(chip);
    const challenge = OTHER;
    for (const mode of [{}, { serial: true }, { otp64: true }, { otp88: true, serial: true }]) {
      const [answer] = await chip.run(command.MAC(mode, 3, challenge.slice()));
      expect(answer).toEqual(digest.macOf(SECRET, challenge, command.macMode(mode), 3, chip.serial, otp));
    }
    const fixed = { secondFromTempKey: true, fixedNonce: true };
    const [, answer] = await chip.run(command.NonceFixed(challenge.slice()), command.MAC(fixed, 3));
    expect(answer).toEqual(digest.macOf(SECRET, challenge, command.macMode(fixed), 3, chip.serial));
    const random = await withTempKey(chip, async (run, tempKey) => {
      const mode = { firstFromTempKey: true };
      const [mac] = await run(command.MAC(mode, 3, challenge.slice()));
      return [mac, digest.macOf(tempKey, challenge, command.macMode(mode), 3, chip.serial)];
    });
    expect(random[0]).toEqual(random[1]);
    expect(() => command.MAC({}, 3)).toThrow(RangeError);
    expect(() => command.MAC({ secondFromTempKey: true }, 3, challenge)).toThrow(RangeError);
  });

  it("CheckMac tells right from wrong", async () => {
    const chip = await chipOf(model);
    const other = new Uint8Array(13).fill(0x33);
    const response = digest.checkMacOf(SECRET, OTHER, 0, other, chip.serial);
    expect(await chip.run(command.CheckMac({}, 3, OTHER, response, other))).toEqual([true]);
    response[0]! ^= 1;
    expect(await chip.run(command.CheckMac({}, 3, OTHER, response, other))).toEqual([false]);
    const withOtp = digest.checkMacOf(SECRET, OTHER, 0x20, other, chip.serial, await readOtp(chip));
    expect(await chip.run(command.CheckMac({ otp64: true }, 3, OTHER, withOtp, other))).toEqual([true]);
  });

  it("DeriveKey rolls, and creates with a MAC", async () => {
    const chip = await chipOf(model);
    const keyOf = async (slot: number) => (await chip.run(command.MAC({}, slot, OTHER.slice())))[0];
    const macWith = (key: Uint8Array, slot: number) => digest.macOf(key, OTHER, 0, slot, chip.serial);
    const rolled = await withTempKey(chip, async (run, tempKey) => {
      await run(command.DeriveKey(4));
      return digest.derivedKey(SECRET, 0, 4, chip.serial, tempKey);
    });
    expect(await keyOf(4)).toEqual(macWith(rolled, 4));
    const mac = digest.deriveKeyMac(SECRET, 4, 5, chip.serial);
    await chip.run(command.NonceFixed(OTHER.slice()), command.DeriveKey(5, { fixedNonce: true, mac }));
    expect(await keyOf(5)).toEqual(macWith(digest.derivedKey(SECRET, 4, 5, chip.serial, OTHER), 5));
    const wrong = chip.run(
      command.NonceFixed(OTHER.slice()),
      command.DeriveKey(5, { fixedNonce: true, mac: new Uint8Array(32) }),
    );
    await expect(wrong).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("PrivWrite imports a key under encryption", async () => {
    const chip = await chipOf(model);
    const scalar = new Uint8Array(32).fill(0x11);
    await withTempKey(chip, async (run, nonce) => {
      await run(command.GenDig(2, 3));
      const tempKey = digest.genDigSlot(SECRET, 3, chip.serial, nonce);
      const { cipher, mac } = digest.encryptedPrivWrite(scalar, 2, chip.serial, tempKey);
      await run(command.PrivWrite(2, cipher, mac));
    });
    expect(await chip.run(command.InfoKeyValid(2))).toEqual([true]);
  });

  it("Sign, external and internal; Verify, external, stored and after validation", async () => {
    const chip = await chipOf(model);
    const [point] = await chip.run(command.GenKeyPublic(0));
    const message = randomBytes(50);
    const hash = new Uint8Array(createHash("sha256").update(message).digest());
    const [, signature] = await chip.run(command.NonceFixed(hash.slice()), command.SignExternal(0));
    expect(verify("sha256", message, ecdsa(point), signature)).toBe(true);
    const nonce = () => command.NonceFixed(hash.slice());
    expect((await chip.run(nonce(), command.VerifyExternal(signature, point)))[1]).toBe(true);
    expect((await chip.run(nonce(), command.VerifyStored(10, signature)))[1]).toBe(true);
    expect((await chip.run(command.NonceFixed(OTHER.slice()), command.VerifyStored(10, signature)))[1]).toBe(false);

    // The key of slot 1 goes into slot 9; slot 0, whose public key is in slot 10, vouches for it.
    const [child] = await chip.run(command.GenKeyPublic(1));
    for (const write of slotWritesLocked(9, publicSlot(child))) await chip.run(write);
    await expect(chip.run(nonce(), command.VerifyStored(9, signature))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    const { slots } = await readConfig(chip);
    expect(slots[9]?.keyConfig.pubInfo).toBe(true);
    const other = Uint8Array.of(1, 2, 3);
    const [, , state, internal] = await chip.run(
      nonce(),
      command.GenKeyDigest(9, other),
      command.InfoState(),
      command.SignInternal(0),
    );
    expect(state).toMatchObject({ genKeyData: true, keyId: 9, valid: true });
    const tempKey = digest.sha256(
      hash,
      concat(Uint8Array.of(0x40), other, serialPart(chip), new Uint8Array(25), child),
    );
    const config = (await readConfig(chip)).bytes;
    const signed = digest.internalMessage({
      ...{ tempKey, mode: 0, signer: 0, tempKeyFlags: 0x59, slotLocked: false, publicKeyValid: false },
      slotConfig: config.slice(20 + 18, 20 + 20),
      keyConfig: config.slice(96 + 18, 96 + 20),
      serial: chip.serial,
    });
    expect(verify("sha256", signed, ecdsa(point), internal)).toBe(true);
    // OtherData of Verify: what stands in that message between TempKey and the serial number, and after it.
    const otherData = concat(signed.slice(33, 43), signed.slice(44, 48), signed.slice(50, 55));
    const validate = [nonce(), command.GenKeyDigest(9, other), command.VerifyValidate(9, internal, otherData)] as const;
    expect((await chip.run(...validate))[2]).toBe(true);
    expect(await chip.run(command.InfoKeyValid(9))).toEqual([true]);
  });

  it("Read and Write: config, OTP, slots, words and blocks", async () => {
    const chip = await chipOf(model);
    const [word, block] = await chip.run(command.ReadWord("config", 0, 0), command.ReadBlock("config", 0));
    expect(block.subarray(0, 4)).toEqual(word);
    await chip.run(command.WriteSlot(8, 0, 1, Uint8Array.of(1, 2, 3, 4)), command.WriteSlot(8, 12, 0, OTHER.slice()));
    expect((await chip.run(command.ReadSlotWord(8, 0, 1)))[0]).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect((await chip.run(command.ReadSlotBlock(8, 12)))[0]).toEqual(OTHER);
    expect(await readSlot(chip, 8)).toHaveLength(416);
    expect(await readOtp(chip)).toEqual(new Uint8Array(64).fill(0xf0));
    if (model === "508a") {
      await chip.run(command.Write("otp", 0, 0, Uint8Array.of(0x30, 0xf0, 0xf0, 0xf0)));
      expect((await readOtp(chip))[0]).toBe(0x30);
    }
  });

  it("ECDH, Random, Counter, SHA, Info, UpdateExtra, slot lock", async () => {
    const chip = await chipOf(model);
    const [mine, shared] = await chip.run(command.GenKeyPublic(0), command.GenKeyPublic(1));
    const [secret] = await chip.run(command.ECDH(1, mine));
    expect(secret).toHaveLength(32);
    expect(shared).toHaveLength(64);
    expect((await chip.run(command.Random({ updateSeed: false })))[0]).toHaveLength(32);
    expect(await chip.run(command.CounterIncrement(1), command.CounterRead(1))).toEqual([1, 1]);
    const message = new Uint8Array(randomBytes(70));
    const [, , hash] = await chip.run(
      command.SHAStart(),
      command.SHAUpdate(message.slice(0, 64)),
      command.SHAEnd(message.slice(64)),
    );
    expect(Buffer.from(hash)).toEqual(createHash("sha256").update(message).digest());
    const [, , mac] = await chip.run(
      command.SHAHmacStart(3),
      command.SHAUpdate(message.slice(0, 64)),
      command.SHAEnd(message.slice(64), { hmac508: model === "508a" }),
    );
    expect(Buffer.from(mac)).toEqual(createHmac("sha256", SECRET).update(message).digest());
    const [, , publicHash] = await chip.run(
      command.SHAStart(),
      command.SHAPublic(10),
      command.SHAEnd(new Uint8Array()),
    );
    expect(Buffer.from(publicHash)).toEqual(createHash("sha256").update(mine).digest());
    await chip.run(command.UpdateExtra("userExtra", 0x42));
    expect((await readConfig(chip)).bytes[84]).toBe(0x42);
    await expect(chip.run(command.UpdateExtra("userExtra", 0x43))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    await lockSlot(chip, 8);
    expect((await readConfig(chip)).slots[8]?.locked).toBe(true);
    await expect(chip.run(command.WriteSlot(8, 0, 0, OTHER.slice()))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });
});

it("HMAC, and Pause, which only a 508A has", async () => {
  const chip = await chipOf("508a");
  const [, answer] = await chip.run(
    command.NonceFixed(OTHER.slice()),
    command.HMAC({ fixedNonce: true, serial: true }, 3),
  );
  expect(answer).toEqual(digest.hmacOf(SECRET, OTHER, 0x44, 3, chip.serial));
  await chip.run(command.Pause(0x77)); // not its Selector: it goes idle
  expect((await chip.run(command.Random()))[0]).toHaveLength(32);
});

describe("what only a 608 has", () => {
  it("AES, with a key in a slot and in TempKey, and the Galois field", async () => {
    const chip = await chipOf("608a");
    const block = new Uint8Array(16).fill(0x5c);
    const aes = (key: Uint8Array) => {
      const cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
      return new Uint8Array(Buffer.concat([cipher.update(block), cipher.final()]));
    };
    const [encrypted] = await chip.run(command608.AES("encrypt", 11, block));
    expect(encrypted).toEqual(aes(OTHER.slice(0, 16)));
    expect((await chip.run(command608.AES("encrypt", 11, block, 1)))[0]).toEqual(aes(OTHER.slice(16, 32)));
    expect((await chip.run(command608.AES("decrypt", 11, encrypted)))[0]).toEqual(block);
    const [, temporary] = await chip.run(
      command.NonceFixed(SECRET.slice()),
      command608.AES("encrypt", "tempKey", block),
    );
    expect(temporary).toEqual(aes(SECRET.slice(0, 16)));
    expect((await chip.run(command608.AESGfm(block, new Uint8Array(16))))[0]).toEqual(new Uint8Array(16));
  });

  it("KDF: HKDF and PRF answered, and kept inside", async () => {
    const chip = await chipOf("608a");
    const message = new TextEncoder().encode("context");
    const hkdf = { algorithm: "HKDF", source: "slot", sourceSlot: 3, details: 2, message } as const;
    const expected = createHmac("sha256", SECRET).update(message).digest();
    expect(Buffer.from((await chip.run(command608.KDF(hkdf)))[0])).toEqual(expected);
    await chip.run(command608.KDFInto(hkdf, "tempKey"));
    const prf = { algorithm: "PRF", source: "slot", sourceSlot: 3, details: 1 | 0x100, message } as const;
    expect((await chip.run(command608.KDF(prf, 64)))[0]).toHaveLength(64);
  });

  it("SelfTest, a key in TempKey, nonces of 64 bytes, the message digest buffer", async () => {
    const chip = await chipOf("608a");
    await chip.run(command608.SelfTest());
    expect((await chip.run(command608.GenKeyTemporary()))[0]).toHaveLength(64);
    await chip.run(command.NonceFixed(new Uint8Array(64)));
    const message = randomBytes(9);
    const hash = new Uint8Array(createHash("sha256").update(message).digest());
    const [point, , signature] = await chip.run(
      command.GenKeyPublic(0),
      command.NonceFixed(hash.slice(), "messageDigestBuffer"),
      command.SignExternal(0, "messageDigestBuffer"),
    );
    expect(verify("sha256", message, ecdsa(point), signature)).toBe(true);
    const [, verified] = await chip.run(
      command.NonceFixed(hash.slice(), "messageDigestBuffer"),
      command.VerifyExternal(signature, point, "messageDigestBuffer"),
    );
    expect(verified).toBe(true);
  });
});

describe("what cannot be right", () => {
  it.each([
    ["a slot", () => command.GenKeyCreate(16)],
    ["a nonce", () => command.NonceFixed(new Uint8Array(31))],
    ["a nonce input", () => command.NonceRandom(new Uint8Array(19))],
    ["a peer", () => command.ECDH(0, new Uint8Array(65))],
    ["a signature", () => command.VerifyStored(8, new Uint8Array(63))],
    ["a block", () => command.SHAUpdate(new Uint8Array(63))],
    ["the end of a message", () => command.SHAEnd(new Uint8Array(64))],
    ["a write", () => command.WriteSlot(8, 0, 0, new Uint8Array(5))],
    ["an AES block", () => command608.AES("encrypt", 0, new Uint8Array(15))],
    ["a KDF message", () => command608.KDF({ algorithm: "PRF", source: "tempKey", message: new Uint8Array(129) })],
  ])("%s of the wrong size is refused before anything reaches the bus", (_, make) => {
    expect(make).toThrow(RangeError);
  });
});

function serialPart({ serial }: Chip): Uint8Array {
  return concat(serial.subarray(8, 9), serial.subarray(0, 2));
}

/** After the data zone is locked a slot open to clear writes takes whole blocks and the rest in words. */
function slotWritesLocked(slot: number, bytes: Uint8Array) {
  const writes = [0, 1].map((block) => command.WriteSlot(slot, block, 0, bytes.slice(block * 32, block * 32 + 32)));
  return [
    ...writes,
    command.WriteSlot(slot, 2, 0, bytes.slice(64, 68)),
    command.WriteSlot(slot, 2, 1, bytes.slice(68, 72)),
  ];
}
