import { createECDH } from "node:crypto";
import { describe, expect, it } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { p256Point } from "../../../src/bytes/der.ts";
import { blankConfig } from "../../../src/emulators/atecc508a/blank.ts";
import type { Model } from "../../../src/emulators/atecc508a/chip.ts";
import { verifyP256Digest } from "../../../src/machine/openssl.ts";
import { abilitiesOf } from "../../../src/roots/atecc/abilities.ts";
import { GenKeyCreate, LockSlot } from "../../../src/roots/atecc/commands.ts";
import { CONFIG, configWords } from "../../../src/roots/atecc/config.ts";
import { lockConfig, lockData, readConfig } from "../../../src/roots/atecc/conversations.ts";
import { rootOn } from "../../../src/roots/atecc/root.ts";
import { laboratory } from "./in-process.ts";

/** One slot of somebody else's configuration. */
type Words = readonly [slotConfig: number, keyConfig: number];

const P256_PRIVATE = 0x0033;
const DATA = 0x001c;
const dataSlots = (count: number): Words[] => Array.from({ length: count }, () => [0x0000, DATA] as const);

/** In the manner of hobby boards: slot 0 signs, slots 1 to 4 sign and agree, the rest holds data. */
const BOARD: readonly Words[] = [
  [0x2083, P256_PRIVATE],
  [0x2087, P256_PRIVATE],
  [0x2087, P256_PRIVATE],
  [0x2f87, P256_PRIVATE],
  [0x2f87, P256_PRIVATE],
  ...dataSlots(11),
];

/** In the manner of parts that come provisioned: the key of slot 0 was made at the factory and stays; certificates. */
const FACTORY: readonly Words[] = [[0x0085, P256_PRIVATE], ...dataSlots(15)];

/** Nothing but one signing key. */
const SIGNER_ONLY: readonly Words[] = [[0x2081, P256_PRIVATE], ...dataSlots(15)];

async function chipOf(
  words: readonly Words[],
  model: Model = "508a",
  makeKeys: readonly number[] = [0],
  bytes: Readonly<Record<number, number>> = {},
) {
  const config = blankConfig(model);
  config.set(configWords(words.map(([slotConfig]) => slotConfig)), CONFIG.slotConfig);
  config.set(configWords(words.map(([, keyConfig]) => keyConfig)), CONFIG.keyConfig);
  for (const [offset, byte] of Object.entries(bytes)) config[Number(offset)] = byte;
  const chip = await laboratory({ model, config, timing: "none" }).open();
  await lockConfig(chip, crc16((await readConfig(chip)).bytes));
  for (const slot of makeKeys) await chip.run(GenKeyCreate(slot));
  await lockData(chip);
  return chip;
}

describe("a chip that somebody else configured is adopted", () => {
  it("offers what its slots allow, and says what that is worth", async () => {
    const root = await rootOn(await chipOf(BOARD, "508a", [0, 1]));
    const { profile, capabilities } = await root.describe();
    expect(profile).toBe("adopted");
    expect(capabilities).toMatchObject({ derive: true, certify: false, wireProtected: false });
    expect(capabilities.limits.join()).toContain("crosses the bus in clear");
    expect(capabilities.keys.map(({ handle, uses, present }) => [handle, uses.join(), present])).toEqual([
      ["slot-0", "sign", true],
      ["slot-1", "sign", true], // what is derived comes from here, so nobody agrees with it
      ...[2, 3, 4].map((slot) => [`slot-${slot}`, "sign,agree", false]),
    ]);
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const signature = await root.sign(handle, new Uint8Array(32).fill(1));
    expect(verifyP256Digest(p256Point(publicKey.spki), new Uint8Array(32).fill(1), signature)).toBe(true);
  });

  it("replaces no key that is there, and none that secrets are derived from", async () => {
    const root = await rootOn(await chipOf(BOARD, "508a", [0, 1]));
    const hex = async () => {
      using secret = await root.derive("disk", new Uint8Array(4));
      return secret.use((bytes) => Buffer.from(bytes).toString("hex"));
    };
    const [before, identity] = [await hex(), await root.publicKey("slot-0")];
    const occupied: string[] = [];
    for (const use of ["agree", "sign", "agree"] as const) {
      occupied.push((await root.generateKey({ algorithm: "p256", use, occupied })).handle);
    }
    expect(occupied).toEqual(["slot-2", "slot-3", "slot-4"]);
    await expect(root.generateKey({ algorithm: "p256", use: "sign", occupied })).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
    });
    expect(await hex()).toBe(before);
    expect(await root.publicKey("slot-0")).toEqual(identity);
    await expect(root.agree("slot-1", new Uint8Array(64))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });

  it("agrees in clear where the slot answers in clear", async () => {
    const root = await rootOn(await chipOf(BOARD, "508a", [1, 2]));
    const peer = createECDH("prime256v1");
    using secret = await root.agree("slot-2", new Uint8Array(peer.generateKeys().subarray(1)));
    const point = p256Point((await root.publicKey("slot-2")).spki);
    const expected = peer.computeSecret(Buffer.concat([Uint8Array.of(4), point]));
    expect(secret.use((bytes) => Buffer.from(bytes).equals(expected))).toBe(true);
  });

  it("does not promise what a 608 with protected ECDH output refuses", async () => {
    const root = await rootOn(await chipOf(BOARD, "608a", [0, 1], { 91: 0x01 }));
    expect((await root.describe()).capabilities).toMatchObject({ derive: false });
    expect((await root.describe()).capabilities.keys.flatMap(({ uses }) => uses)).not.toContain("agree");
  });

  it("takes evidence only from a key that signs nothing else, comes from nowhere else and asks for nothing", async () => {
    const internalOnly = 0x2082;
    const evidence = async (...slots: readonly Words[]) => {
      const words = [[0x2083, P256_PRIVATE] as const, ...slots, ...dataSlots(15 - slots.length)];
      const root = await rootOn(await chipOf(words, "508a", [0, ...slots.keys().map((slot) => slot + 1)]));
      const { certify } = (await root.describe()).capabilities;
      if (certify) expect((await root.certify(new Uint8Array(32))).signature).toHaveLength(64);
      return certify;
    };
    expect(await evidence([internalOnly, P256_PRIVATE])).toBe(true);
    expect(await evidence([0x2083, P256_PRIVATE], [internalOnly, P256_PRIVATE])).toBe(true);
    expect(await evidence([0x6082, P256_PRIVATE])).toBe(false); // a key can be imported
    expect(await evidence([internalOnly, P256_PRIVATE | 0x40])).toBe(false); // ReqRandom
    expect(await evidence([0x2083, P256_PRIVATE])).toBe(false);
  });

  it("uses a factory key and never replaces it", async () => {
    const root = await rootOn(await chipOf(FACTORY, "608a"));
    const { capabilities } = await root.describe();
    expect(capabilities.keys).toEqual([
      expect.objectContaining({ handle: "slot-0", replaceable: false, present: true, uses: ["sign"] }),
    ]);
    const point = p256Point((await root.publicKey("slot-0")).spki);
    const digest = new Uint8Array(32).fill(3);
    expect(verifyP256Digest(point, digest, await root.sign("slot-0", digest))).toBe(true);
    await expect(root.generateKey({ algorithm: "p256", use: "sign", occupied: [] })).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
    });
    await expect(root.destroyKey("slot-0")).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(await root.zeroize()).toEqual({ destroyed: [], kept: [expect.stringContaining("slot 0")] });
    expect(p256Point((await root.publicKey("slot-0")).spki)).toEqual(point);
  });

  it("says that a chip without ECDH opens no store", async () => {
    const root = await rootOn(await chipOf(SIGNER_ONLY));
    expect((await root.describe()).capabilities).toMatchObject({ derive: false, certify: false });
    await expect(root.derive("disk", new Uint8Array())).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
      message: expect.stringContaining("no slot with a key allows ECDH"),
    });
  });
});

describe("what a slot can do", () => {
  it("follows a slot lock: use goes on, change stops", async () => {
    const chip = await chipOf(BOARD);
    const possible = async () => {
      const config = await readConfig(chip);
      return abilitiesOf(config.slots[0]!, config, "508a")
        .filter((finding) => finding.possible)
        .map(({ ability }) => ability);
    };
    expect(await possible()).toContain("new key");
    await chip.run(LockSlot(0));
    expect(await possible()).not.toContain("new key");
    expect(await possible()).toContain("sign digest");
    await expect(chip.run(GenKeyCreate(0))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
  });
});
