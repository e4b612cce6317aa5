import { describe, expect, test } from "vitest";
import { createChip } from "../../../src/emulators/atecc508a/chip.ts";
import { memoryInRam } from "../../../src/emulators/atecc508a/memory.ts";
import { ADDRESS, answer, bench, benchAround, hex, imageOf, KEY, pattern, request, type Setup } from "./lab.ts";

const WAKE = Uint8Array.of(1);
const RESET = Uint8Array.of(0);
const SLEEP = Uint8Array.of(1);
const IDLE = Uint8Array.of(2);
const INFO = request(0x30, 0, 0);

function asleep(setup: Setup = {}) {
  const model = setup.model ?? "508a";
  return createChip({ model, memory: memoryInRam(model, imageOf(setup)) });
}

describe("wake, idle and sleep", () => {
  test("a chip asleep acknowledges nothing, its own address included", () => {
    const chip = asleep();
    expect(chip.write(ADDRESS, INFO)).toBe(false);
    expect(chip.read(ADDRESS, 4)).toBeUndefined();
    expect(chip.read(0, 4)).toBeUndefined();
    expect(chip.write(ADDRESS, RESET)).toBe(false);
  });

  test("the general call wakes it, unacknowledged; it says so until a command comes", () => {
    const chip = asleep();
    expect(chip.write(0, WAKE)).toBe(false);
    expect(hex(chip.read(ADDRESS, 4))).toBe("04113343");
    expect(hex(answer(chip))).toBe("11");
    expect(hex(answer(chip))).toBe("11");
  });

  test("even an empty general call wakes it; awake, it does nothing", () => {
    const chip = asleep();
    expect(chip.write(0, new Uint8Array())).toBe(false);
    chip.write(ADDRESS, INFO);
    expect(chip.write(0, WAKE)).toBe(false);
    expect(hex(answer(chip))).toBe("00005000");
  });

  test("sleep loses TempKey, AuthComplete and the SHA context; idle keeps them", () => {
    for (const way of [SLEEP, IDLE]) {
      const host = bench({ slots: { 3: { keyConfig: KEY.SECRET, content: pattern(32, 1) } } });
      host.fixedNonce(pattern(32, 5));
      // HMAC start would spend TempKey on the 508; the SHA context is looked at below.
      const before = host.state();
      expect(host.chip.write(ADDRESS, way)).toBe(true);
      expect(host.chip.write(ADDRESS, INFO)).toBe(false);
      host.chip.write(0, WAKE);
      expect(host.state()).toEqual(way === IDLE ? before : [0, 0]);
    }
    for (const way of [SLEEP, IDLE]) {
      const host = bench();
      host.status(0x47, 0, 0);
      host.chip.write(ADDRESS, way);
      host.chip.write(0, WAKE);
      expect(host.command(0x47, 2, 0).length).toBe(way === IDLE ? 32 : 1);
    }
  });

  test("loss of power is as sleep", () => {
    const host = bench();
    host.fixedNonce(pattern(32, 5));
    host.chip.powerCut();
    expect(host.chip.write(ADDRESS, INFO)).toBe(false);
    host.chip.write(0, WAKE);
    expect(host.state()).toEqual([0, 0]);
  });

  test("other addresses are those of other devices", () => {
    const host = bench();
    host.fixedNonce(pattern(32, 5));
    for (let address = 1; address < 256; address++) {
      if (address === ADDRESS) continue;
      expect(host.chip.write(address, SLEEP)).toBe(false);
      expect(host.chip.read(address, 4)).toBeUndefined();
    }
    expect(host.tempKeyIsValid()).toBe(true);
  });

  test("a new address counts from the next wake", () => {
    const { chip, status } = bench({ stage: "open" });
    expect(status(0x12, 0, 4, Uint8Array.of(0x6a, 0, 0, 0))).toBe(0);
    expect(status(0x30, 9, 0)).toBe(3);
    chip.write(ADDRESS, SLEEP);
    chip.write(0, WAKE);
    expect(chip.read(ADDRESS, 4)).toBeUndefined();
    expect(hex(chip.read(0x35, 4))).toBe("04113343");
  });

  test("ChipMode bit 0 puts UserExtra, on the 608 UserExtraAdd, in the place of the address, unless it is 0", () => {
    for (const [model, byte] of [
      ["508a", 84],
      ["608a", 85],
    ] as const) {
      const other = asleep({ model, config: { 19: 1, [byte]: 0x6c } });
      other.write(0, WAKE);
      expect(hex(other.read(0x36, 4))).toBe("04113343");
      const own = asleep({ model, config: { 19: 1 } });
      own.write(0, WAKE);
      expect(hex(own.read(ADDRESS, 4))).toBe("04113343");
    }
  });
});

describe("reading", () => {
  test("the pointer goes on from transaction to transaction, until word address 00", () => {
    const { chip } = bench();
    chip.write(ADDRESS, INFO);
    expect(hex(chip.read(ADDRESS, 1))).toBe("07");
    expect(hex(chip.read(ADDRESS, 6))).toBe("000050000391");
    expect(hex(chip.read(ADDRESS, 3))).toBe("ffffff");
    chip.write(ADDRESS, RESET);
    expect(hex(chip.read(ADDRESS, 7))).toBe("07000050000391");
    chip.write(ADDRESS, RESET);
    expect(hex(chip.read(ADDRESS, 9))).toBe("07000050000391ffff");
  });

  test("a read of nothing is acknowledged and moves nothing", () => {
    const { chip } = bench();
    expect(chip.read(ADDRESS, 0)).toEqual(new Uint8Array());
    expect(hex(chip.read(ADDRESS, 4))).toBe("04113343");
  });

  test("unknown word addresses and empty writes are acknowledged and ignored", () => {
    const { chip } = bench();
    chip.write(ADDRESS, INFO);
    chip.read(ADDRESS, 2);
    for (const bytes of [[], [4], [0x77, 1, 2], [0xff]]) expect(chip.write(ADDRESS, Uint8Array.from(bytes))).toBe(true);
    expect(hex(chip.read(ADDRESS, 5))).toBe("0050000391");
  });

  test("a wrong packet is answered in the place of the answer before", () => {
    const { chip } = bench();
    chip.write(ADDRESS, INFO);
    expect(chip.write(ADDRESS, Uint8Array.of(3))).toBe(true);
    expect(hex(chip.read(ADDRESS, 4))).toBe("04ff0142");
  });
});

describe("Pause", () => {
  test("idle, without an answer, unless the Selector is its own", () => {
    const host = bench({ config: { 85: 5 } });
    host.fixedNonce(pattern(32, 5));
    expect(host.status(0x01, 5, 0)).toBe(0);
    expect(host.chip.write(ADDRESS, request(0x01, 6, 0))).toBe(true);
    expect(host.chip.read(ADDRESS, 4)).toBeUndefined();
    host.chip.write(0, WAKE);
    expect(host.tempKeyIsValid()).toBe(true);
  });
});

describe("time", () => {
  function timed(setup: Setup = {}) {
    const model = setup.model ?? "508a";
    const clock = { ms: 1000, now: () => clock.ms };
    const memory = memoryInRam(model, imageOf(setup));
    const chip = createChip({ model, memory, timing: setup.timing ?? "typical", clock });
    const host = benchAround(chip, memory);
    return { clock, chip, host };
  }

  test("1.5 ms pass from wake to the first traffic", () => {
    const { chip, clock } = timed();
    chip.write(0, WAKE);
    expect(chip.read(ADDRESS, 4)).toBeUndefined();
    clock.ms += 1.499;
    expect(chip.write(ADDRESS, RESET)).toBe(false);
    clock.ms += 0.001;
    expect(hex(chip.read(ADDRESS, 4))).toBe("04113343");
  });

  test.each([
    { model: "508a", timing: "typical", opcode: 0x24, ms: 5 },
    { model: "508a", timing: "maximum", opcode: 0x24, ms: 20 },
    { model: "608a", timing: "typical", opcode: 0x24, ms: 25 },
    { model: "608a", timing: "maximum", opcode: 0x24, ms: 25 },
  ] as const)("busy: $model $timing", ({ model, timing, opcode, ms }) => {
    const { chip, clock } = timed({ model, timing });
    chip.write(0, WAKE);
    clock.ms += 2;
    expect(chip.write(ADDRESS, request(opcode, 0, 0))).toBe(true);
    clock.ms += ms - 0.001;
    expect(chip.read(ADDRESS, 1)).toBeUndefined();
    expect(chip.write(ADDRESS, RESET)).toBe(false);
    expect(chip.write(ADDRESS, SLEEP)).toBe(false);
    clock.ms += 0.001;
    expect(hex(chip.read(ADDRESS, 7))).toMatch(/^0700000000/);
  });

  test("the clock divider of the 608 makes GenKey slow", () => {
    for (const [chipMode, ms] of [
      [0x00, 115],
      [0x28, 215],
      [0x68, 653],
    ] as const) {
      const setup = { 0: { slotConfig: 0x2001, keyConfig: KEY.ECC_PRIVATE } };
      // Bit 2: the long watchdog.
      const { chip, clock } = timed({ model: "608a", slots: setup, config: { 19: chipMode | 4 } });
      chip.write(0, WAKE);
      clock.ms += 2;
      chip.write(ADDRESS, request(0x40, 4, 0));
      clock.ms += ms - 0.01;
      expect(chip.read(ADDRESS, 1)).toBeUndefined();
      clock.ms += 0.02;
      expect(hex(chip.read(ADDRESS, 1))).toBe("43");
    }
  });

  test("parse and communication errors come at once", () => {
    const { chip, clock } = timed();
    chip.write(0, WAKE);
    clock.ms += 2;
    chip.write(ADDRESS, request(0x30, 0x55, 0));
    expect(hex(chip.read(ADDRESS, 4))).toBe("04038342");
    chip.write(ADDRESS, Uint8Array.of(3, 1));
    expect(hex(chip.read(ADDRESS, 4))).toBe("04ff0142");
  });

  test.each([
    { timing: "typical", ms: 1300 },
    { timing: "maximum", ms: 700 },
  ] as const)("the watchdog ends it after $ms ms, with all it held; idle stops the watchdog", ({ timing, ms }) => {
    const { chip, clock, host } = timed({ timing });
    chip.write(0, WAKE);
    const woken = clock.ms;
    clock.ms += 2;
    chip.write(ADDRESS, request(0x16, 3, 0, pattern(32, 1)));
    clock.ms += 30;
    chip.write(ADDRESS, IDLE);
    clock.ms += 5000;
    chip.write(0, WAKE);
    const again = clock.ms;
    clock.ms += 2;
    chip.write(ADDRESS, request(0x30, 2, 0));
    clock.ms += 2;
    expect(hex(chip.read(ADDRESS, 3))).toBe("071080");
    clock.ms = again + ms - 0.001;
    expect(chip.read(ADDRESS, 1)).toBeDefined();
    clock.ms = again + ms;
    expect(chip.read(ADDRESS, 1)).toBeUndefined();
    chip.write(0, WAKE);
    clock.ms += 2;
    chip.write(ADDRESS, request(0x30, 2, 0));
    clock.ms += 2;
    expect(hex(chip.read(ADDRESS, 3))).toBe("070000");
    expect(woken).toBeLessThan(again);
    expect(host.memory.model).toBe("508a");
  });

  test("a command that would reach the watchdog is answered EE at once, and does nothing", () => {
    const { chip, clock, host } = timed();
    chip.write(0, WAKE);
    const woken = clock.ms;
    clock.ms = woken + 1300 - 5;
    expect(host.status(0x24, 1, 0)).toBe(0xee);
    chip.write(ADDRESS, SLEEP);
    chip.write(0, WAKE);
    clock.ms += 1300 - 5.01;
    chip.write(ADDRESS, request(0x24, 0, 0));
    clock.ms += 5.005;
    expect(hex(answer(chip))).toBe("00000000");
  });

  test("ChipMode bit 2: 13 s", () => {
    const { chip, clock } = timed({ config: { 19: 4 } });
    chip.write(0, WAKE);
    clock.ms += 12_999;
    expect(chip.read(ADDRESS, 1)).toBeDefined();
    clock.ms += 1;
    expect(chip.read(ADDRESS, 1)).toBeUndefined();
  });

  test("without timing nothing takes time and no watchdog runs", () => {
    const clock = { ms: 0, now: () => clock.ms };
    const { chip } = bench({ timing: "none", clock });
    chip.write(ADDRESS, INFO);
    expect(hex(answer(chip))).toBe("00005000");
    clock.ms += 1e9;
    expect(hex(answer(chip))).toBe("00005000");
  });
});
