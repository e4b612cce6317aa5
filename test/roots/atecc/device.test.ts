import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { ThornkeyError } from "../../../src/errors.ts";
import type { I2cBus } from "../../../src/machine/i2c-bus.ts";
import {
  CounterIncrement,
  CounterRead,
  GenKeyCreate,
  HMAC,
  InfoRevision,
  InfoState,
  NonceFixed,
  Random,
  ReadSlotBlock,
  SHAEnd,
  SHAStart,
  SHAUpdate,
  SignExternal,
  VerifyExternal,
} from "../../../src/roots/atecc/commands.ts";
import { incrementCounter, lockConfig, lockData, readConfig } from "../../../src/roots/atecc/conversations.ts";
import { AteccDevice, longestRun } from "../../../src/roots/atecc/device.ts";
import { ADDRESS, type Laboratory, laboratory, opcodesOf, type Transaction, wakesOf } from "./in-process.ts";

const OPCODE = { Info: 0x30, Counter: 0x24, Sign: 0x41, Nonce: 0x16, Read: 0x02 };

async function locked(lab: Laboratory) {
  const chip = await lab.open();
  await lockConfig(chip, crc16((await readConfig(chip)).bytes));
  await chip.run(GenKeyCreate(0));
  await lockData(chip);
  lab.transactions.length = 0;
  return chip;
}

/** Lets everything through until it is told to do otherwise. */
function gate() {
  const rules: { write?: (bytes: Uint8Array) => boolean | "lost answer"; gone?: boolean } = {};
  let answersLost = false;
  const through = (bus: I2cBus): I2cBus => ({
    write(address, bytes) {
      if (rules.gone) throw new ThornkeyError("ROOT_UNAVAILABLE", "unplugged");
      answersLost = false;
      const verdict = rules.write?.(bytes) ?? true;
      if (verdict === false) return false;
      const acknowledged = bus.write(address, bytes);
      answersLost = verdict === "lost answer";
      return acknowledged;
    },
    read(address, length) {
      if (rules.gone) throw new ThornkeyError("ROOT_UNAVAILABLE", "unplugged");
      return answersLost ? undefined : bus.read(address, length);
    },
    close() {},
  });
  return { rules, through };
}

/** Changes what is written on its way to the chip. */
function altering(alter: (bytes: Uint8Array) => Uint8Array) {
  return (bus: I2cBus): I2cBus => ({ ...bus, write: (address, bytes) => bus.write(address, alter(bytes)) });
}

/** The chip's answer that the watchdog would end the command. */
const isCutShort = ({ kind, bytes }: Transaction) => kind === "read" && bytes[0] === 4 && bytes[1] === 0xee;

const isRead = (bytes: Uint8Array) => bytes[2] === OPCODE.Counter && bytes[3] === 0;

describe("the driver", () => {
  it("stays awake across commands, and wakes the chip anew before its watchdog ends one", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    for (let n = 0; n < 100; n++) await chip.run(NonceFixed(new Uint8Array(32).fill(n)), SignExternal(0));
    const seconds = (lab.transactions.at(-1)?.at ?? 0) - (lab.transactions[0]?.at ?? 0);
    expect(opcodesOf(lab.transactions).filter((opcode) => opcode === OPCODE.Sign)).toHaveLength(100);
    expect(lab.transactions.filter(isCutShort)).toEqual([]);
    // One wake for each 0.65 s less the longest pair of commands.
    expect(wakesOf(lab.transactions)).toBeLessThanOrEqual(Math.ceil(seconds / 500));
    expect(wakesOf(lab.transactions)).toBeGreaterThanOrEqual(Math.floor(seconds / 700));
  });

  it("restarts the watchdog inside a list that is longer than it, and no command is cut short", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    const pairs = Array.from({ length: 30 }, (_, n) => [
      NonceFixed(new Uint8Array(32).fill(n)),
      SignExternal(0),
    ]).flat();
    await chip.run(...pairs);
    expect(wakesOf(lab.transactions)).toBeGreaterThanOrEqual(2);
    expect(lab.transactions.filter(isCutShort)).toEqual([]);
  });

  it("takes each answer in one transaction, and asks a real chip not long before it is ready", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    for (let n = 0; n < 50; n++) await chip.run(Random());
    lab.transactions.length = 0;
    for (let n = 0; n < 50; n++) await chip.run(Random());
    const reads = lab.transactions.filter(
      ({ kind, acknowledged, bytes }) => kind === "read" && acknowledged && bytes.length > 4,
    );
    expect(reads).toHaveLength(50);
    expect(reads.every(({ bytes }) => bytes.length === 35)).toBe(true);
    const tooEarly = lab.transactions.filter(({ kind, acknowledged }) => kind === "read" && !acknowledged);
    expect(tooEarly.length).toBeLessThan(100);
  });

  it("soon asks a chip at once that needs no time", async () => {
    const lab = laboratory({ timing: "none" });
    const chip = await locked(lab);
    for (let n = 0; n < 30; n++) await chip.run(NonceFixed(new Uint8Array(32).fill(n)), SignExternal(0));
    lab.clock.sleeps.length = 0;
    await chip.run(NonceFixed(new Uint8Array(32)), SignExternal(0));
    expect(lab.clock.sleeps.reduce((sum, sleep) => sum + sleep, 0)).toBeLessThan(2);
  });

  it("does not repeat what the chip refused", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    await chip.run(InfoRevision());
    lab.transactions.length = 0;
    await expect(chip.run(ReadSlotBlock(0, 0))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    expect(opcodesOf(lab.transactions)).toEqual([OPCODE.Read]);
  });

  it("says the refusal each time, also when the same is refused twice", async () => {
    const chip = await locked(laboratory());
    for (let n = 0; n < 5; n++) {
      await expect(chip.run(ReadSlotBlock(0, 0))).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    }
  });

  it("does not repeat an ECC fault", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    const offCurve = new Uint8Array(64).fill(1);
    const verify = chip.run(NonceFixed(new Uint8Array(32)), VerifyExternal(new Uint8Array(64).fill(1), offCurve));
    await expect(verify).rejects.toMatchObject({ code: "ROOT_REFUSED", message: expect.stringContaining("05") });
    expect(opcodesOf(lab.transactions).filter((opcode) => opcode === 0x45)).toHaveLength(1);
  });

  it("refuses what the model does not have before anything reaches the bus", async () => {
    const lab = laboratory({ model: "608a" });
    const chip = await lab.open();
    lab.transactions.length = 0;
    await expect(chip.run(HMAC({}, 0))).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    expect(lab.transactions).toHaveLength(0);
  });

  it("says OUTCOME_UNKNOWN when the answer to a count is lost, and the conversation still counts once", async () => {
    const { rules, through } = gate();
    const lab = laboratory({ through });
    const chip = await locked(lab);
    const loseOnce = () => {
      let lost = false;
      rules.write = (bytes) => {
        const isIncrement = bytes[2] === OPCODE.Counter && bytes[3] === 1;
        if (!isIncrement || lost) return true;
        lost = true;
        return "lost answer";
      };
    };
    loseOnce();
    await expect(chip.run(CounterIncrement(0))).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    rules.write = () => true;
    expect(await chip.run(CounterRead(0))).toEqual([1]);
    loseOnce();
    expect(await incrementCounter(chip, 0)).toBe(2);
    expect(await chip.run(CounterRead(0))).toEqual([2]);
  });

  it("counts once when the new value is what another command has just answered", async () => {
    const chip = await locked(laboratory());
    await chip.run(CounterIncrement(1));
    await chip.run(CounterRead(1), CounterIncrement(0));
    expect(await chip.run(CounterRead(0), CounterRead(1))).toEqual([1, 1]);
  });

  it("does not take for an answer what the command between two equal ones answered", async () => {
    let reads = 0;
    // The third reading of the counter, after the command in between, arrives as "reset read pointer".
    const chip = await locked(
      laboratory({
        through: altering((bytes) => (isRead(bytes) && ++reads === 3 ? Uint8Array.of(0, ...bytes.slice(1)) : bytes)),
      }),
    );
    expect(await chip.run(CounterRead(0), CounterRead(0))).toEqual([0, 0]);
    expect(reads).toBe(4);
  });

  it("begins a conversation again when TempKey was lost with the restart of the watchdog", async () => {
    let idles = 0;
    // The first idle arrives as "sleep".
    const lab = laboratory({
      through: altering((bytes) => (bytes.length === 1 && bytes[0] === 2 && ++idles === 1 ? Uint8Array.of(1) : bytes)),
    });
    const chip = await locked(lab);
    let conversations = 0;
    const signature = await chip.exclusive(async ({ run }) => {
      conversations += 1;
      await run(NonceFixed(new Uint8Array(32).fill(5)));
      lab.clock.advance(600);
      const [made] = await run(SignExternal(0));
      return made;
    });
    expect(signature).toHaveLength(64);
    expect([idles, conversations]).toEqual([2, 2]);
  });

  it("begins a list again when the chip may have slept, also when that answer was damaged", async () => {
    let damage = false;
    const lab = laboratory({
      through: (bus) => ({
        ...bus,
        read: (address, length) => {
          const bytes = bus.read(address, length);
          if (!damage || bytes === undefined) return bytes;
          damage = false;
          return bytes.map((byte, index) => (index === 1 ? byte ^ 0x04 : byte));
        },
      }),
    });
    const chip = await locked(lab);
    const { write } = lab.silicon;
    let states = 0;
    lab.silicon.write = (address, bytes) => {
      if (bytes[2] === OPCODE.Info && bytes[3] === 2 && ++states === 1) {
        lab.silicon.powerCut();
        damage = true; // of what the chip says when it is woken
      }
      return write.call(lab.silicon, address, bytes);
    };
    const [, state] = await chip.run(NonceFixed(new Uint8Array(32)), InfoState());
    expect(state).toMatchObject({ valid: true, sourceFlag: 1 });
  });

  it("begins a conversation again when the chip slept between two of its lists", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    let conversations = 0;
    await chip.exclusive(async ({ run }) => {
      await run(NonceFixed(new Uint8Array(32).fill(5)));
      if (++conversations === 1) lab.device.sleep();
      await run(SignExternal(0));
    });
    expect(conversations).toBe(2);
  });

  it("begins a conversation again when the watchdog ended between two of its lists", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    let conversations = 0;
    await chip.exclusive(async ({ run }) => {
      await run(NonceFixed(new Uint8Array(32).fill(5)));
      if (++conversations === 1) lab.clock.advance(5000);
      await run(SignExternal(0));
    });
    expect(conversations).toBe(2);
  });

  it("says so when a conversation would wait for itself, and goes on afterwards", async () => {
    const chip = await locked(laboratory());
    await expect(chip.exclusive(() => chip.run(Random()))).rejects.toThrow("waits for itself");
    await expect(chip.exclusive(() => incrementCounter(chip, 0))).rejects.toThrow("waits for itself");
    expect((await chip.run(Random()))[0]).toHaveLength(32);
  });

  it("does not lose a digest to a command between two equal answers", async () => {
    let infos = 0;
    const lab = laboratory({
      through: altering((bytes) =>
        bytes[2] === OPCODE.Info && ++infos === 2 ? Uint8Array.of(0, ...bytes.slice(1)) : bytes,
      ),
    });
    const chip = await locked(lab);
    infos = 0;
    const blocks = [1, 2, 3].map((fill) => new Uint8Array(64).fill(fill));
    const [a, b, c] = blocks.map((block) => SHAUpdate(block.slice()));
    const [, , , , digest] = await chip.run(SHAStart(), a!, b!, c!, SHAEnd(new Uint8Array()));
    expect(Buffer.from(digest)).toEqual(createHash("sha256").update(Buffer.concat(blocks)).digest());
  });

  it.each(["typical", "none"] as const)(
    "counts once when it arrived and only its acknowledgement was lost (%s)",
    async (timing) => {
      let lost = 0;
      const lab = laboratory({
        timing,
        through: (bus) => ({
          ...bus,
          write: (address, bytes) => {
            const acknowledged = bus.write(address, bytes);
            const isIncrement = bytes[2] === OPCODE.Counter && bytes[3] === 1;
            return acknowledged && !(isIncrement && lost++ === 0);
          },
        }),
      });
      const chip = await locked(lab);
      expect(await incrementCounter(chip, 0)).toBe(1);
      expect(await chip.run(CounterRead(0))).toEqual([1]);
    },
  );

  it("counts once when the increment never arrived", async () => {
    const { rules, through } = gate();
    const lab = laboratory({ through });
    const chip = await locked(lab);
    let swallowed = 0;
    rules.write = (bytes) => !(bytes[2] === OPCODE.Counter && bytes[3] === 1 && swallowed++ < 2);
    expect(await incrementCounter(chip, 0)).toBe(1);
    expect(await chip.run(CounterRead(0))).toEqual([1]);
  });

  it("reports a root that vanished, within its deadline, and works again when it is back", async () => {
    const { rules, through } = gate();
    const lab = laboratory({ through });
    const chip = await locked(lab);
    rules.gone = true;
    await expect(chip.run(Random())).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    rules.gone = false;
    expect((await chip.run(Random()))[0]).toHaveLength(32);
  });

  it("holds no bus open for an adapter that is gone, and opens the one that is plugged in instead", async () => {
    // The kernel answers EIO while a descriptor keeps the adapter that was unplugged, which looks like no acknowledgement.
    let plugged = true;
    let open = false;
    const lab = laboratory();
    const device = new AteccDevice({
      clock: lab.clock,
      address: ADDRESS,
      open() {
        if (!plugged) throw new ThornkeyError("ROOT_UNAVAILABLE", "there is no bus");
        open = true;
        return {
          write: (address, bytes) => plugged && lab.bus.write(address, bytes),
          read: (address, length) => (plugged ? lab.bus.read(address, length) : undefined),
          close() {
            open = false;
          },
        };
      },
    });
    device.run([Random()]);
    expect(open).toBe(true);
    plugged = false;
    expect(() => device.run([Random()])).toThrow(expect.objectContaining({ code: "ROOT_UNAVAILABLE" }));
    expect(open).toBe(false);
    expect(() => device.run([Random()])).toThrow("there is no bus");
    plugged = true;
    expect(device.run([Random()]).answers[0]).toHaveLength(32);
    device.sleep();
    expect(open).toBe(false);
    expect(device.run([Random()]).answers[0]).toHaveLength(32);
  });

  it("gives up on a chip that never answers, within the deadline of the command", async () => {
    const { rules, through } = gate();
    const lab = laboratory({ through });
    const chip = await locked(lab);
    rules.write = () => false;
    const from = lab.clock.now();
    await expect(chip.run(Random())).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      hint: expect.stringContaining("thornkey chip test"),
    });
    expect(lab.clock.now() - from).toBeLessThanOrEqual(longestRun([Random()]) * 1.2);
  });

  it("tries once more after its thread was not let run for longer than the whole list may take", async () => {
    for (const before of ["the first wake", "the first command"]) {
      const lab = laboratory();
      let stands = true;
      const standStill = () => {
        if (stands) lab.clock.advance(longestRun([Random()]) + 5000);
        stands = false;
      };
      const device = new AteccDevice({
        clock: lab.clock,
        address: ADDRESS,
        open() {
          if (before === "the first wake") standStill();
          return {
            write: (address, bytes) => lab.bus.write(address, bytes),
            read(address, length) {
              const answer = lab.bus.read(address, length);
              if (before === "the first command") standStill();
              return answer;
            },
            close() {},
          };
        },
      });
      expect(device.run([InfoRevision()]).answers, before).toHaveLength(1);
      expect(stands).toBe(false);
    }
  });

  it("gives up within the deadline on a bus that is stuck for a tenth of a second at every transaction", async () => {
    const lab = laboratory({
      through: (bus) => ({
        write: (address, bytes) => {
          if (!stuck) return bus.write(address, bytes);
          lab.clock.advance(100);
          return false;
        },
        read: (address, length) => {
          if (!stuck) return bus.read(address, length);
          lab.clock.advance(100);
          return undefined;
        },
        close() {},
      }),
    });
    let stuck = false;
    const chip = await locked(lab);
    stuck = true;
    const from = lab.clock.now();
    await expect(chip.run(Random())).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    expect(lab.clock.now() - from).toBeLessThanOrEqual(longestRun([Random()]) + 1000);
  });

  it("begins a pair again when the chip lost power between the two", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    const [nonce, sign] = [NonceFixed(new Uint8Array(32).fill(9)), SignExternal(0)];
    let cut = false;
    const { write } = lab.silicon;
    lab.silicon.write = (address, bytes) => {
      if (!cut && bytes[2] === OPCODE.Sign) {
        cut = true;
        lab.silicon.powerCut();
      }
      return write.call(lab.silicon, address, bytes);
    };
    expect((await chip.run(nonce, sign))[1]).toHaveLength(64);
    expect(opcodesOf(lab.transactions).filter((opcode) => opcode === OPCODE.Nonce).length).toBeGreaterThanOrEqual(2);
  });

  it("leaves no TempKey behind", async () => {
    const lab = laboratory();
    const chip = await locked(lab);
    await chip.run(NonceFixed(new Uint8Array(32)));
    lab.device.sleep();
    expect(lab.transactions.at(-1)?.bytes).toEqual(Uint8Array.of(1));
  });
});
