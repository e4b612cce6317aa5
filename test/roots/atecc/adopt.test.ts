import { createECDH } from "node:crypto";
import { describe, expect, it } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
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

async function chipOf(words: readonly Words[], model: Model = "508a", makeKeys: readonly number[] = [0]) {
  const config = blankConfig(model);
  config.set(configWords(words.map(([slotConfig]) => slotConfig)), CONFIG.slotConfig);
  config.set(configWords(words.map(([, keyConfig]) => keyConfig)), CONFIG.keyConfig);
  const chip = await laboratory({ model, config, timing: "none" }).open();
  await lockConfig(chip, crc16((await readConfig(chip)).bytes));
  for (const slot of makeKeys) await chip.run(GenKeyCreate(slot));
  await lockData(chip);
  return chip;
}

describe("a chip that somebody else configured is adopted", () => {
  it("offers what its slots allow, and says what that is worth", async () => {
    const root = await rootOn(await chipOf(BOARD, "508a", [0, 1, 2, 3, 4]));
    const { profile, capabilities } = await root.describe();
    expect(profile).toBe("adopted");
    expect(capabilities).toMatchObject({ derive: true, certify: false, wireProtected: false });
    expect(capabilities.limits.join()).toContain("crosses the bus in clear");
    expect(capabilities.keys.map(({ handle, uses }) => [handle, uses.join()])).toEqual([
      ["slot-0", "sign"],
      ...[1, 2, 3, 4].map((slot) => [`slot-${slot}`, "sign,agree"]),
    ]);
    const { handle, publicKey } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: ["slot-0"] });
    const signature = await root.sign(handle, new Uint8Array(32).fill(1));
    expect(verifyP256Digest(publicKey.point, new Uint8Array(32).fill(1), signature)).toBe(true);
  });

  it("agrees in clear where the slot answers in clear", async () => {
    const root = await rootOn(await chipOf(BOARD, "508a", [1]));
    const peer = createECDH("prime256v1");
    using secret = await root.agree("slot-1", new Uint8Array(peer.generateKeys().subarray(1)));
    const { point } = await root.publicKey("slot-1");
    const expected = peer.computeSecret(Buffer.concat([Uint8Array.of(4), point]));
    expect(secret.use((bytes) => Buffer.from(bytes).equals(expected))).toBe(true);
  });

  it("uses a factory key and never replaces it", async () => {
    const root = await rootOn(await chipOf(FACTORY, "608a"));
    const { capabilities } = await root.describe();
    expect(capabilities.keys).toEqual([
      expect.objectContaining({ handle: "slot-0", replaceable: false, present: true, uses: ["sign", "agree"] }),
    ]);
    const { point } = await root.publicKey("slot-0");
    const digest = new Uint8Array(32).fill(3);
    expect(verifyP256Digest(point, digest, await root.sign("slot-0", digest))).toBe(true);
    await expect(root.generateKey({ algorithm: "p256", use: "sign", occupied: [] })).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
    });
    await expect(root.destroyKey("slot-0")).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(await root.zeroize()).toEqual({ destroyed: [], kept: [expect.stringContaining("slot 0")] });
    expect((await root.publicKey("slot-0")).point).toEqual(point);
  });

  it("says that a chip without ECDH opens no store", async () => {
    const root = await rootOn(await chipOf(SIGNER_ONLY));
    expect((await root.describe()).capabilities).toMatchObject({ derive: false, certify: false });
    await expect(root.derive("disk", new Uint8Array())).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
      message: expect.stringContaining("no slot allows ECDH"),
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
