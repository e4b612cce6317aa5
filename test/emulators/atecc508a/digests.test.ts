import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { challenge, inc, keyPair, macOf, otherKey, otp, publicSlot, tempKeyShown } from "./formulas.ts";
import { bench, H, hex, KEY, NONCE, pattern, SECRET, SN, SNX, zeros } from "./lab.ts";

describe("MAC", () => {
  const modes = Array.from({ length: 128 }, (_, mode) => mode).filter((mode) => !(mode & 0x08));
  test.each(modes)("mode %i", (mode) => {
    const chip = bench({ otp, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
    if (mode & 4) chip.fixedNonce(NONCE);
    const tempKey = mode & 4 ? NONCE : chip.randomNonce();
    const param2 = 0x5a03;
    const payload = chip.command(0x08, mode, param2, mode & 1 ? zeros(0) : challenge);
    const expected = H(
      mode & 2 ? tempKey : SECRET,
      mode & 1 ? tempKey : challenge,
      [0x08, mode, 0x03, 0x5a],
      inc(mode),
    );
    expect(hex(payload)).toBe(hex(expected));
    expect(chip.tempKeyIsValid()).toBe(false);
  });

  test("fixed vector", () => {
    const chip = bench({ otp, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
    expect(hex(chip.command(0x08, 0x00, 3, challenge))).toBe(
      "0eddd47711127d45d574186ed5b7917b8ffd6069a10aecadc7c391f7acb21ca6",
    );
    expect(hex(chip.command(0x08, 0x40, 3, challenge))).toBe(
      "c8c54ed07fe973948de7344788d9fcfdb9d0f624610ec466e8f09a0ba3a0f509",
    );
  });
});

describe("HMAC", () => {
  test.each([0x00, 0x04, 0x10, 0x14, 0x20, 0x24, 0x30, 0x40, 0x44, 0x50, 0x60, 0x74])("mode %i", (mode) => {
    const chip = bench({ otp, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
    if (mode & 4) chip.fixedNonce(NONCE);
    const tempKey = mode & 4 ? NONCE : chip.randomNonce();
    const message = Buffer.concat([zeros(32), tempKey, Buffer.from([0x11, mode, 3, 0, ...inc(mode)])]);
    expect(message.length).toBe(88);
    const expected = createHmac("sha256", SECRET).update(message).digest();
    expect(hex(chip.command(0x11, mode, 3))).toBe(hex(expected));
  });

  test("fixed vector", () => {
    const chip = bench({ otp, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
    chip.fixedNonce(NONCE);
    expect(hex(chip.command(0x11, 0x04, 3))).toBe("5f48a5b33a467fde671da82d99c3a4e15bd888294750754d7b0f3299a524497e");
  });
});

describe("CheckMac", () => {
  const other = pattern(13, 0x77);
  function response(mode: number, first: Uint8Array, second: Uint8Array): Uint8Array {
    const fromOtp = mode & 0x20 ? otp.subarray(0, 8) : zeros(8);
    return H(
      first,
      second,
      other.subarray(0, 4),
      fromOtp,
      other.subarray(4, 7),
      [SN[8]!],
      other.subarray(7, 11),
      [SN[0]!, SN[1]!],
      other.subarray(11),
    );
  }

  test.each([0, 1, 2, 3, 4, 5, 6, 7].flatMap((mode) => [mode, mode | 0x20]))("mode %i", (mode) => {
    const chip = bench({ otp, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
    for (const right of [true, false]) {
      if (mode & 4) chip.fixedNonce(NONCE);
      const tempKey = mode & 4 ? NONCE : chip.randomNonce();
      const wanted = response(mode, mode & 2 ? tempKey : SECRET, mode & 1 ? tempKey : challenge);
      if (!right) wanted[31]! ^= 1;
      expect(chip.status(0x28, mode, 3, challenge, wanted, other)).toBe(right ? 0 : 1);
      expect(chip.tempKeyIsValid()).toBe(false);
    }
  });

  test("answers what MAC answers: the two commands belong together", () => {
    const chip = bench({ otp, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
    chip.fixedNonce(NONCE);
    const digest = chip.command(0x08, 0x05, 3);
    chip.fixedNonce(NONCE);
    const otherData = Uint8Array.from([0x08, 0x05, 3, 0, ...zeros(9)]);
    expect(chip.status(0x28, 0x05, 3, zeros(32), digest, otherData)).toBe(0);
  });

  test.each([1, 5])("mode %i of an even slot copies the next slot's secret into TempKey", (mode) => {
    const chip = bench({
      otp,
      slots: { 2: { keyConfig: KEY.SECRET, content: SECRET }, 3: { keyConfig: KEY.SECRET, content: otherKey } },
    });
    if (mode & 4) chip.fixedNonce(NONCE);
    const tempKey = mode & 4 ? NONCE : chip.randomNonce();
    expect(chip.status(0x28, mode, 2, challenge, response(mode, SECRET, tempKey), other)).toBe(0);
    expect(chip.state()[0]).toBe(0x10);
    const digest = chip.command(0x08, 0x06, 0, challenge);
    expect(hex(digest)).toBe(hex(H(otherKey, challenge, [0x08, 0x06, 0, 0], inc(0x06))));
  });

  test("does not copy what another ReadKey or a private slot keeps", () => {
    for (const target of [{ slotConfig: 0x0001, keyConfig: KEY.SECRET }, { keyConfig: KEY.ECC_PRIVATE }]) {
      const chip = bench({ otp, slots: { 2: { keyConfig: KEY.SECRET, content: SECRET }, 3: target } });
      const tempKey = chip.randomNonce();
      expect(chip.status(0x28, 1, 2, challenge, response(1, SECRET, tempKey), other)).toBe(0);
      expect(chip.tempKeyIsValid()).toBe(false);
    }
  });
});

describe("DeriveKey", () => {
  const cases = [
    { name: "roll", writeConfig: 0b0010, parent: 3, mac: false },
    { name: "roll, bit 14 set", writeConfig: 0b0110, parent: 3, mac: false },
    { name: "roll with MAC", writeConfig: 0b1010, parent: 3, mac: true },
    { name: "create", writeConfig: 0b0011, parent: 5, mac: false },
    { name: "create with MAC", writeConfig: 0b1111, parent: 5, mac: true },
  ];
  test.each(cases)("$name", ({ writeConfig, parent, mac }) => {
    for (const mode of [0, 4]) {
      const chip = bench({
        slots: {
          3: { slotConfig: (writeConfig << 12) | 0x0500, keyConfig: KEY.SECRET, content: SECRET },
          5: { keyConfig: KEY.SECRET, content: otherKey },
        },
      });
      if (mode & 4) chip.fixedNonce(NONCE);
      const tempKey = mode & 4 ? NONCE : chip.randomNonce();
      const parentKey = parent === 3 ? SECRET : otherKey;
      const proof = H(parentKey, [0x1c, mode, 3, 0], SNX);
      expect(chip.status(0x1c, mode, 3, mac ? proof : zeros(0))).toBe(0);
      const expected = H(parentKey, [0x1c, mode, 3, 0], SNX, zeros(25), tempKey);
      expect(hex(chip.memory.slots[3]!.slice(0, 32))).toBe(hex(expected));
      expect(chip.tempKeyIsValid()).toBe(false);
    }
  });

  test("a wrong MAC answers 01 and changes nothing", () => {
    const chip = bench({ slots: { 3: { slotConfig: 0xa000, keyConfig: KEY.SECRET, content: SECRET } } });
    chip.fixedNonce(NONCE);
    expect(chip.status(0x1c, 4, 3, zeros(32))).toBe(1);
    expect(hex(chip.memory.slots[3]!.slice(0, 32))).toBe(hex(SECRET));
  });

  test("a MAC that is missing, or not wanted, is refused", () => {
    const wanted = bench({ slots: { 3: { slotConfig: 0xa000, keyConfig: KEY.SECRET, content: SECRET } } });
    wanted.fixedNonce(NONCE);
    expect(wanted.status(0x1c, 4, 3)).toBe(0x0f);
    const unwanted = bench({ slots: { 3: { slotConfig: 0x2000, keyConfig: KEY.SECRET, content: SECRET } } });
    unwanted.fixedNonce(NONCE);
    expect(unwanted.status(0x1c, 4, 3, H(SECRET, [0x1c, 4, 3, 0], SNX))).toBe(0x0f);
  });
});

describe("GenDig", () => {
  const setup = {
    otp,
    slots: {
      3: { keyConfig: KEY.SECRET, content: SECRET },
      4: { slotConfig: 0x8030, keyConfig: 0x3c, content: otherKey },
      9: { slotConfig: 0x1234, keyConfig: 0x0030, content: SECRET },
    },
  };

  function check(
    zone: number,
    param2: number,
    data: Uint8Array,
    expected: (t: Uint8Array, c: Uint8Array) => Uint8Array,
    flags = 0,
  ) {
    for (const sourceFlag of [0, 1] as const) {
      const chip = bench(setup);
      if (sourceFlag) chip.fixedNonce(NONCE);
      const tempKey = sourceFlag ? NONCE : chip.randomNonce();
      expect(chip.status(0x15, zone, param2, data)).toBe(0);
      expect(chip.state()[0]).toBe(flags | (sourceFlag << 4));
      expect(tempKeyShown(chip, sourceFlag)).toBe(
        macOf(expected(tempKey, Uint8Array.from(chip.memory.config)), sourceFlag),
      );
    }
  }

  test.each([0, 1, 2, 3])("config block %i", (block) =>
    check(0, block, zeros(0), (t, config) =>
      H(config.subarray(32 * block, 32 * block + 32), [0x15, 0, block, 0], SNX, zeros(25), t),
    ),
  );
  test.each([0, 1])("OTP block %i", (block) =>
    check(1, block, zeros(0), (t) =>
      H(otp.subarray(32 * block, 32 * block + 32), [0x15, 1, block, 0], SNX, zeros(25), t),
    ),
  );
  test("data slot", () => check(2, 3, zeros(0), (t) => H(SECRET, [0x15, 2, 3, 0], SNX, zeros(25), t), 0x23));
  test("data slot with NoMac", () => {
    const other = pattern(4, 0xe0);
    check(2, 4, other, (t) => H(otherKey, other, SNX, zeros(25), t), 0xa4);
  });
  test("shared nonce, both ways", () => {
    check(3, 0x0042, challenge, (t) => H(challenge, [0x15, 3, 0x42, 0], SNX, zeros(25), t));
    check(3, 0x8042, challenge, (t) => H(t, [0x15, 3, 0x42, 0], SNX, zeros(25), challenge));
  });
  test("counter", () => {
    const chip = bench(setup);
    for (let i = 0; i < 300; i++) chip.command(0x24, 1, 1);
    chip.fixedNonce(NONCE);
    expect(chip.status(0x15, 4, 1)).toBe(0);
    const expected = H(zeros(32), [0x15, 4, 1, 0], SNX, [0, 300 & 0xff, 300 >> 8, 0, 0], zeros(20), NONCE);
    expect(tempKeyShown(chip, 1)).toBe(macOf(expected, 1));
  });
  test("key config", () =>
    check(5, 9, zeros(0), (t) => H(zeros(32), [0x15, 5, 9, 0], SNX, [0, 0x34, 0x12, 0x30, 0x00, 1], zeros(19), t)));
});

describe("SHA", () => {
  test.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 300])("%i bytes", (length) => {
    const message = pattern(length, 9);
    for (const model of ["508a", "608a"] as const) {
      const chip = bench({ model, slots: { 3: { keyConfig: KEY.SECRET, content: SECRET } } });
      const run = (start: () => number, endMode: number) => {
        expect(start()).toBe(0);
        let at = 0;
        for (; at + 64 <= length; at += 64) expect(chip.status(0x47, 1, 64, message.subarray(at, at + 64))).toBe(0);
        return hex(chip.command(0x47, endMode, length - at, message.subarray(at)));
      };
      expect(run(() => chip.status(0x47, 0, 0), 2)).toBe(createHash("sha256").update(message).digest("hex"));
      const expected = createHmac("sha256", SECRET).update(message).digest("hex");
      expect(run(() => chip.status(0x47, 4, 3), model === "508a" ? 5 : 2)).toBe(expected);
    }
  });

  test("a public key takes part with its coordinates", () => {
    const { x, y } = keyPair();
    const chip = bench({ slots: { 9: { keyConfig: KEY.PUBLIC, content: publicSlot(x, y) } } });
    expect(chip.status(0x47, 0, 0)).toBe(0);
    expect(chip.status(0x47, 3, 9)).toBe(0);
    expect(hex(chip.command(0x47, 2, 2, Uint8Array.of(1, 2)))).toBe(hex(H(x, y, [1, 2])));
  });
});
