import { describe, expect, it } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import { blankConfig } from "../../../src/emulators/atecc508a/blank.ts";
import { memoryInRam } from "../../../src/emulators/atecc508a/memory.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import type { I2cBus } from "../../../src/machine/i2c-bus.ts";
import { PrivWrite } from "../../../src/roots/atecc/commands.ts";
import { lockConfig, lockData, readConfig, writesOf } from "../../../src/roots/atecc/conversations.ts";
import { hasProfile, PRIVATE_KEYS, PROFILE, SLOTS } from "../../../src/roots/atecc/profile.ts";
import { holdsTransportKey, provision, provisioningStage } from "../../../src/roots/atecc/provision.ts";
import { rootOn } from "../../../src/roots/atecc/root.ts";
import { laboratory } from "./in-process.ts";

const transport = () => new Secret(new Uint8Array(32).fill(0x5a));

/** Ends everything after a number of transactions, as if the host lost power. */
function endsAfter(transactions: number) {
  let left = transactions;
  const spend = () => {
    if (left-- <= 0) throw new ThornkeyError("ROOT_UNAVAILABLE", "the power is gone");
  };
  return (bus: I2cBus): I2cBus => ({
    write(address, bytes) {
      spend();
      return bus.write(address, bytes);
    },
    read(address, length) {
      spend();
      return bus.read(address, length);
    },
    close() {},
  });
}

describe.each(["508a", "608a"] as const)("provisioning a blank %s", (model) => {
  const blank = () => memoryInRam(model, { config: blankConfig(model) });

  it("may be interrupted at any transaction and begun again", async () => {
    const whole = laboratory({ model, timing: "none" });
    await provision(await whole.open(), transport());
    const total = whole.transactions.length;
    for (let after = 4; after < total; after += 3) {
      const memory = blank();
      const first = laboratory({ model, memory, timing: "none", through: endsAfter(after) });
      await first
        .open()
        .then((chip) => provision(chip, transport()))
        .catch((error) => expect(error).toMatchObject({ code: "ROOT_UNAVAILABLE" }));
      const second = laboratory({ model, memory, timing: "none" });
      second.silicon.powerCut();
      const chip = await second.open();
      await provision(chip, transport());
      expect(provisioningStage(await readConfig(chip))).toBe("done");
      const root = await rootOn(chip, transport());
      using a = await root.derive("x", new Uint8Array(1));
      using b = await root.derive("x", new Uint8Array(1));
      expect(a.use((one) => b.use((two) => Buffer.from(one).equals(two)))).toBe(true);
    }
  });

  it("makes every private key itself, also where somebody has imported one he knows", async () => {
    const memory = blank();
    const chip = await laboratory({ model, memory, timing: "none" }).open();
    const interrupted = provision(chip, transport(), (step) => {
      if (step.includes("transport key")) throw new Error("interrupted");
    });
    await expect(interrupted).rejects.toThrow("interrupted");
    const known = Uint8Array.from({ length: 36 }, (_, index) => (index < 4 ? 0 : 0x11));
    for (const slot of PRIVATE_KEYS) await chip.run(PrivWrite(slot, known, undefined));
    await provision(chip, transport());
    const scalars = PRIVATE_KEYS.map((slot) => Buffer.from(memory.slots[slot]!.subarray(4, 36)).toString("hex"));
    expect(new Set(scalars).size).toBe(9);
    expect(scalars).not.toContain("11".repeat(32));
  });

  it("refuses a chip that would change its address on the way, and changes nothing", async () => {
    const config = blankConfig(model);
    config[16] = 0x6a; // 0x35, from the next wake
    const lab = laboratory({ model, config, timing: "none", address: 0x35 });
    const chip = await lab.open();
    await provision(chip, transport()); // it keeps 0x35
    const other = laboratory({ model, timing: "none" });
    const moved = await other.open();
    await moved.run(...writesOf("config", 16, Uint8Array.of(0x6a, 0, 0, 0)));
    const before = Buffer.from(other.memory.config).toString("hex");
    await expect(provision(moved, transport())).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(Buffer.from(other.memory.config).toString("hex")).toBe(before);
  });

  it("writes what the profile says, and nothing is left unlocked", async () => {
    const lab = laboratory({ model, timing: "none" });
    const chip = await lab.open();
    await provision(chip, transport());
    const config = await readConfig(chip);
    expect(hasProfile(config.bytes)).toBe(true);
    expect(config.slots.map(({ slotConfig, keyConfig }) => ({ slotConfig, keyConfig }))).toEqual(
      PROFILE.map(({ slotConfig, keyConfig }) => ({ slotConfig, keyConfig })),
    );
    expect([config.configLocked, config.dataLocked]).toEqual([true, true]);
    expect(Buffer.from(lab.memory.otp).toString("latin1")).toMatch(/^thornkey-1\0+$/);
  });

  it("done again with the same key changes nothing; with another it is refused", async () => {
    const lab = laboratory({ model, timing: "none" });
    const chip = await lab.open();
    await provision(chip, transport());
    const before = lab.memory.slots.map((slot) => Buffer.from(slot).toString("hex"));
    await provision(chip, transport());
    expect(lab.memory.slots.map((slot) => Buffer.from(slot).toString("hex"))).toEqual(before);
    const other = new Secret(new Uint8Array(32));
    await expect(provision(chip, other)).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(await holdsTransportKey(chip, { slot: SLOTS.transport, secret: other })).toBe(false);
  });

  it("leaves a chip alone that somebody else configured", async () => {
    const lab = laboratory({ model, timing: "none" });
    const chip = await lab.open();
    await lockConfig(chip, crc16((await readConfig(chip)).bytes));
    await lockData(chip);
    const before = Buffer.from(lab.memory.config).toString("hex");
    await expect(provision(chip, transport())).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      hint: expect.stringContaining("chip info"),
    });
    expect(Buffer.from(lab.memory.config).toString("hex")).toBe(before);
  });
});

it("locks nothing when the configuration did not arrive as it was sent", async () => {
  const memory = memoryInRam("508a", { config: blankConfig("508a") });
  const faulty = {
    ...memory,
    write: (zone: Parameters<typeof memory.write>[0], offset: number, bytes: Uint8Array) =>
      zone === "config" && offset === 32 ? undefined : memory.write(zone, offset, bytes),
  };
  const chip = await laboratory({ memory: faulty, timing: "none" }).open();
  await expect(provision(chip, transport())).rejects.toMatchObject({
    code: "ROOT_UNAVAILABLE",
    hint: expect.stringContaining("nothing was locked"),
  });
  expect((await readConfig(chip)).configLocked).toBe(false);
});
