import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  createSign,
  generateKeyPairSync,
  verify,
} from "node:crypto";
import { describe, expect, test } from "vitest";
import { bench, H, hex, KEY, NONCE, pattern, SECRET, SN, SNX, zeros } from "./lab.ts";

/*
 * Expected values are computed here from the formulas of the data sheet, with node:crypto and byte lists, and not with
 * the emulator's own digest code.
 */

const otherKey = pattern(32, 0x51);
const challenge = pattern(32, 0xc3);
const otp = pattern(64, 0x05);

function inc(mode: number): number[] {
  const a = mode & 0x10 ? [...otp.subarray(0, 11)] : mode & 0x20 ? [...otp.subarray(0, 8), 0, 0, 0] : Array(11).fill(0);
  const full = (mode & 0x40) !== 0;
  return [
    ...a,
    SN[8]!,
    ...(full ? SN.subarray(4, 8) : [0, 0, 0, 0]),
    SN[0]!,
    SN[1]!,
    ...(full ? SN.subarray(2, 4) : [0, 0]),
  ];
}

const xor = (a: Uint8Array, b: Uint8Array) => a.map((byte, i) => byte ^ (b[i] ?? 0));

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

/** What is in TempKey, shown by a MAC of it. */
function tempKeyShown(chip: ReturnType<typeof bench>, sourceFlag: 0 | 1): string {
  const mode = 0x02 | (sourceFlag << 2);
  return hex(chip.command(0x08, mode, 0, zeros(32)));
}

function macOf(tempKey: Uint8Array, sourceFlag: 0 | 1): string {
  const mode = 0x02 | (sourceFlag << 2);
  return hex(H(tempKey, zeros(32), [0x08, mode, 0, 0], inc(mode)));
}

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

/** A P-256 key pair of node:crypto as bytes. */
function keyPair() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = privateKey.export({ format: "jwk" });
  const bytes = (text: string | undefined) => Buffer.from(text ?? "", "base64url");
  return { privateKey, publicKey, d: bytes(jwk.d), x: bytes(jwk.x), y: bytes(jwk.y) };
}

function publicKeyOf(point: Uint8Array) {
  const part = (from: number) => Buffer.from(point.subarray(from, from + 32)).toString("base64url");
  return createPublicKey({ key: { kty: "EC", crv: "P-256", x: part(0), y: part(32) }, format: "jwk" });
}

/** SHA-256 of the message is inside. */
function isSignature(message: Uint8Array, signature: Uint8Array, point: Uint8Array): boolean {
  return verify("sha256", message, { key: publicKeyOf(point), dsaEncoding: "ieee-p1363" }, signature);
}

const publicSlot = (x: Uint8Array, y: Uint8Array, nibble = 0) =>
  Buffer.concat([Buffer.from([nibble << 4, 0, 0, 0]), x, zeros(4), y]);

describe("GenKey", () => {
  test("digests of a new, of a stored private and of a stored public key", () => {
    const { x, y } = keyPair();
    const chip = bench({
      slots: {
        1: { slotConfig: 0x2083, keyConfig: KEY.ECC_PRIVATE },
        9: { keyConfig: KEY.PUBLIC, content: publicSlot(x, y) },
      },
    });
    for (const mode of [0x0c, 0x08]) {
      chip.fixedNonce(NONCE);
      const point = chip.command(0x40, mode, 1);
      expect(point.length).toBe(64);
      expect(chip.state()).toEqual([0x51, 0x80]);
      expect(tempKeyShown(chip, 1)).toBe(macOf(H(NONCE, [0x40, mode, 1, 0], SNX, zeros(25), point), 1));
    }
    chip.fixedNonce(NONCE);
    const other = pattern(3, 0xd0);
    expect(chip.status(0x40, 0x10, 9, other)).toBe(0);
    expect(chip.state()).toEqual([0x59, 0x80]);
    expect(tempKeyShown(chip, 1)).toBe(macOf(H(NONCE, [0x40], other, SNX, zeros(25), x, y), 1));
  });
});

describe("Sign", () => {
  test("external: node:crypto takes the signature", () => {
    const chip = bench({ slots: { 0: { slotConfig: 0x2081, keyConfig: KEY.ECC_PRIVATE } } });
    const point = chip.command(0x40, 4, 0);
    for (let i = 0; i < 20; i++) {
      const message = pattern(100, i);
      chip.fixedNonce(H(message));
      expect(isSignature(message, chip.command(0x41, 0x80, 0), point)).toBe(true);
      expect(chip.tempKeyIsValid()).toBe(false);
    }
  });

  test.each([0x00, 0x01, 0x40, 0x41])("internal, mode %i, after GenDig", (mode) => {
    const chip = bench({
      slots: {
        0: { slotConfig: 0x2082, keyConfig: KEY.ECC_PRIVATE },
        3: { slotConfig: 0x8f07, keyConfig: KEY.SECRET, content: SECRET },
      },
    });
    const point = chip.command(0x40, 4, 0);
    const tempKey = chip.randomNonce();
    expect(chip.status(0x15, 2, 3)).toBe(0);
    const gendig = H(SECRET, [0x15, 2, 3, 0], SNX, zeros(25), tempKey);
    const full = (mode & 0x40) !== 0;
    const message = Buffer.from([
      ...gendig,
      0x41,
      mode,
      0,
      0,
      0x07,
      0x8f,
      KEY.SECRET,
      0,
      0x23,
      0,
      0,
      SN[8]!,
      ...(full ? SN.subarray(4, 8) : zeros(4)),
      SN[0]!,
      SN[1]!,
      ...(full ? SN.subarray(2, 4) : zeros(2)),
      1,
      0,
      0,
    ]);
    expect(message.length).toBe(55);
    expect(isSignature(message, chip.command(0x41, mode, 0), point)).toBe(true);
  });
});

describe("Verify", () => {
  const authority = keyPair();
  const device = keyPair();
  const signed = (message: Uint8Array, by: ReturnType<typeof keyPair>) =>
    createSign("sha256").update(message).sign({ key: by.privateKey, dsaEncoding: "ieee-p1363" });

  test("external and stored", () => {
    const chip = bench({ slots: { 9: { keyConfig: KEY.PUBLIC, content: publicSlot(device.x, device.y) } } });
    const message = pattern(50, 3);
    const signature = signed(message, device);
    for (const right of [true, false]) {
      const digest = right ? H(message) : H(message, [0]);
      chip.fixedNonce(digest);
      expect(chip.status(0x45, 2, 4, signature, device.x, device.y)).toBe(right ? 0 : 1);
      chip.fixedNonce(digest);
      expect(chip.status(0x45, 0, 9, signature)).toBe(right ? 0 : 1);
    }
    chip.fixedNonce(H(message));
    expect(chip.status(0x45, 2, 4, signature, device.x, device.x)).toBe(0x05);
    expect(chip.tempKeyIsValid()).toBe(false);
  });

  test("validate and invalidate a public key by its parent's signature", () => {
    const chip = bench({
      slots: {
        9: { slotConfig: 0x000a, keyConfig: KEY.PUBLIC_VALIDATED, content: publicSlot(device.x, device.y) },
        10: { keyConfig: KEY.PUBLIC, content: publicSlot(authority.x, authority.y) },
      },
    });
    const genKeyOther = pattern(3, 0xa0);
    const other = pattern(19, 0x21);
    function digestInTempKey(): Uint8Array {
      chip.fixedNonce(NONCE);
      expect(chip.status(0x40, 0x10, 9, genKeyOther)).toBe(0);
      return H(NONCE, [0x40], genKeyOther, SNX, zeros(25), device.x, device.y);
    }
    for (const { mode, nibble } of [
      { mode: 3, nibble: 5 },
      { mode: 7, nibble: 0xa },
    ]) {
      const message = Buffer.concat([
        digestInTempKey(),
        Buffer.from([0x41]),
        other.subarray(0, 10),
        SN.subarray(8, 9),
        other.subarray(10, 14),
        SN.subarray(0, 2),
        other.subarray(14),
      ]);
      expect(message.length).toBe(55);
      const before = chip.memory.slots[9]![0]! >> 4;
      expect(chip.status(0x45, mode, 9, signed(message, device), other)).toBe(1);
      expect(chip.memory.slots[9]![0]! >> 4).toBe(before);
      digestInTempKey();
      expect(chip.status(0x45, mode, 9, signed(message, authority), other)).toBe(0);
      expect(chip.memory.slots[9]![0]! >> 4).toBe(nibble);
      chip.fixedNonce(NONCE);
      expect(chip.status(0x45, 0, 9, zeros(64))).toBe(nibble === 5 ? 1 : 0x0f);
    }
  });
});

describe("encrypted Read, Write and PrivWrite", () => {
  const setup = {
    slots: {
      2: { slotConfig: 0x43c3, keyConfig: KEY.SECRET, content: otherKey },
      3: { keyConfig: KEY.SECRET, content: SECRET },
      7: { slotConfig: 0x4301, keyConfig: KEY.ECC_PRIVATE },
    },
  };
  function sessionKey(chip: ReturnType<typeof bench>): Uint8Array {
    const tempKey = chip.randomNonce();
    expect(chip.status(0x15, 2, 3)).toBe(0);
    return H(SECRET, [0x15, 2, 3, 0], SNX, zeros(25), tempKey);
  }

  test("Read", () => {
    const chip = bench(setup);
    const session = sessionKey(chip);
    expect(hex(xor(chip.command(0x02, 0x82, 2 << 3), session))).toBe(hex(otherKey));
    expect(chip.tempKeyIsValid()).toBe(false);
    expect(chip.status(0x02, 0x82, 2 << 3)).toBe(0x0f);
  });

  test.each([0x82, 0xc2])("Write, zone byte %i", (zone) => {
    const chip = bench(setup);
    const session = sessionKey(chip);
    const plain = pattern(32, 0x3d);
    const mac = H(session, [0x12, zone, 2 << 3, 0], SNX, zeros(25), plain);
    expect(chip.status(0x12, zone, 2 << 3, xor(plain, session), mac)).toBe(0);
    expect(hex(chip.memory.slots[2]!.slice(0, 32))).toBe(hex(plain));
    expect(chip.tempKeyIsValid()).toBe(false);

    const second = sessionKey(chip);
    expect(chip.status(0x12, zone, 2 << 3, xor(zeros(32), second), mac)).toBe(0x0f);
    expect(hex(chip.memory.slots[2]!.slice(0, 32))).toBe(hex(plain));
  });

  test("PrivWrite", () => {
    const chip = bench(setup);
    const pair = keyPair();
    const plain = Buffer.concat([zeros(4), pair.d]);
    const session = sessionKey(chip);
    const cipher = xor(plain, Buffer.concat([session, H(session).subarray(0, 4)]));
    const mac = H(session, [0x46, 0x40, 7, 0], SNX, zeros(21), plain);
    expect(chip.status(0x46, 0x40, 7, cipher, mac)).toBe(0);
    expect(hex(chip.command(0x40, 0, 7))).toBe(hex(Buffer.concat([pair.x, pair.y])));
    sessionKey(chip);
    expect(chip.status(0x46, 0x40, 7, cipher, mac)).toBe(0x0f);
  });
});

describe("ECDH", () => {
  test("the X coordinate, as node:crypto has it; into the next slot when ReadKey says so", async () => {
    const { createECDH } = await import("node:crypto");
    const host = createECDH("prime256v1");
    const hostPoint = host.generateKeys().subarray(1);
    for (const readKey of [0x4, 0xc]) {
      const chip = bench({ slots: { 0: { slotConfig: 0x2000 | readKey, keyConfig: KEY.ECC_PRIVATE } } });
      const point = chip.command(0x40, 4, 0);
      const shared = host.computeSecret(Buffer.concat([Buffer.from([4]), point]));
      const payload = chip.command(0x43, 0, 0, hostPoint);
      expect(hex(readKey === 4 ? payload : chip.memory.slots[1]!.slice(0, 32))).toBe(hex(shared));
      if (readKey === 0xc) expect(hex(payload)).toBe("00");
      const wrong = Uint8Array.from(hostPoint);
      wrong[63]! ^= 1;
      expect(chip.status(0x43, 0, 0, wrong)).toBe(0x05);
    }
  });
});

describe("SHA", () => {
  test.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 300])("%i bytes", async (length) => {
    const { createHash } = await import("node:crypto");
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

describe("608", () => {
  const ioKey = pattern(32, 0x6e);
  const IO = { 90: 0x06, 91: 0x40 };
  const model = "608a" as const;
  const unwrap = (payload: Uint8Array, length: number) => {
    expect(payload.length).toBe(length + 32);
    const outNonce = payload.subarray(length);
    const stream = Buffer.concat([H(ioKey, outNonce.subarray(0, 16)), H(ioKey, outNonce.subarray(16))]);
    return xor(payload.subarray(0, length), stream);
  };
  function details(bits: number, message: Uint8Array): Uint8Array {
    return Uint8Array.of(bits & 0xff, (bits >> 8) & 0xff, 0, message.length);
  }

  /** TLS 1.2 P_SHA256, RFC 5246 section 5. */
  function pHash(secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
    const hmac = (...data: Uint8Array[]) => createHmac("sha256", secret).update(Buffer.concat(data)).digest();
    const a1 = hmac(seed);
    const a2 = hmac(a1);
    return Buffer.concat([hmac(a1, seed), hmac(a2, seed)]).subarray(0, length);
  }

  test("KDF PRF: the published vector, to the output in clear and encrypted", () => {
    const chip = bench({ model, config: IO, slots: { 4: { keyConfig: KEY.SECRET, content: ioKey } } });
    const count = Uint8Array.from({ length: 32 }, (_, i) => i % 16);
    const message = count.subarray(0, 16);
    chip.fixedNonce(count);
    const payload = chip.command(0x56, 0x10, 0x1234, details(0x101, message), message);
    expect(hex(payload)).toBe(
      "1ebcbe62005ab948fdffe1c402aaba354ec676050c9bc1aae1ff5b1509a4a04a44254664c2a480f5b77ea2d1020c7ba4b3640c4ac793324c26d6fddfdb1f011a",
    );
    expect(hex(payload)).toBe(hex(pHash(count, message, 64)));
    const wrapped = chip.command(0x56, 0x14, 0x1234, details(0x101, message), message);
    expect(hex(unwrap(wrapped, 64))).toBe(hex(payload));
  });

  test("KDF AES: the published vector", () => {
    const chip = bench({ model, config: IO, slots: { 4: { keyConfig: KEY.SECRET, content: ioKey } } });
    const count = Uint8Array.from({ length: 32 }, (_, i) => i % 16);
    chip.fixedNonce(count);
    const payload = chip.command(0x56, 0x30, 0, zeros(4), count.subarray(0, 16));
    expect(hex(payload)).toBe(`0a940bb5416ef045f1c39458c653ea5a${"00".repeat(16)}`);
  });

  test("KDF HKDF: from a slot, a buffer, TempKey, with a zero key, with an IV, into slot and TempKey", () => {
    const chip = bench({
      model,
      config: { ...IO, 72: 9, 73: 0x69, 74: 0x76 },
      slots: { 3: { keyConfig: KEY.SECRET, content: SECRET }, 5: { keyConfig: KEY.SECRET } },
    });
    const message = pattern(20, 0x40);
    const hmac = (k: Uint8Array, m: Uint8Array) => hex(createHmac("sha256", k).update(m).digest());
    expect(hex(chip.command(0x56, 0x52, 3, details(2, message), message))).toBe(hmac(SECRET, message));
    chip.status(0x16, 0x83, 0, otherKey);
    expect(hex(chip.command(0x56, 0x53, 0, details(2, message), message))).toBe(hmac(otherKey, message));
    chip.fixedNonce(NONCE);
    expect(hex(chip.command(0x56, 0x50, 0, Uint8Array.of(5, 0, 0, 32)))).toBe(hmac(zeros(32), NONCE));
    const withIv = pattern(20, 0x40);
    expect(chip.status(0x56, 0x52, 3, details(3, withIv), withIv)).toBe(0x0f);
    withIv.set([0x69, 0x76], 9);
    expect(hex(chip.command(0x56, 0x52, 3, details(3, withIv), withIv))).toBe(hmac(SECRET, withIv));
    expect(chip.status(0x56, 0x4a, 0x0503, details(2, message), message)).toBe(0);
    expect(hex(chip.memory.slots[5]!.slice(0, 32))).toBe(hmac(SECRET, message));
    expect(chip.status(0x56, 0x42, 3, details(2, message), message)).toBe(0);
    expect(tempKeyShown(chip, 1)).toBe(macOf(Buffer.from(hmac(SECRET, message), "hex"), 1));
  });

  test("AES encrypts and decrypts with a block of the slot; GFM multiplies as GCM does", () => {
    const keys = pattern(32, 0x21);
    const chip = bench({ model, slots: { 3: { keyConfig: KEY.AES, content: keys } } });
    const block = pattern(16, 0x99);
    for (const index of [0, 1]) {
      const aesKey = keys.subarray(16 * index, 16 * index + 16);
      const expected = createCipheriv("aes-128-ecb", aesKey, null).update(block);
      expect(hex(chip.command(0x51, index << 6, 3, block))).toBe(hex(expected));
      const back = createDecipheriv("aes-128-ecb", aesKey, null).setAutoPadding(false).update(block);
      expect(hex(chip.command(0x51, (index << 6) | 1, 3, block))).toBe(hex(back));
    }
    expect(chip.status(0x51, 0x80, 3, block)).toBe(0x0f);
    // GCM specification (McGrew, Viega), test case 2: H, and the products of its GHASH.
    const h = Buffer.from("66e94bd4ef8a2c3b884cfa59ca342b2e", "hex");
    const c = Buffer.from("0388dace60b6a392f328c2b971b2fe78", "hex");
    expect(hex(chip.command(0x51, 3, 0, h, c))).toBe("5e2ec746917062882c85b0685353deb7");
  });

  test("ECDH: output in clear and encrypted, into slot and TempKey, from TempKey", async () => {
    const { createECDH } = await import("node:crypto");
    const host = createECDH("prime256v1");
    const hostPoint = host.generateKeys().subarray(1);
    const chip = bench({
      model,
      config: IO,
      slots: {
        0: { slotConfig: 0x2004, keyConfig: KEY.ECC_PRIVATE },
        1: { keyConfig: KEY.SECRET },
        4: { keyConfig: KEY.SECRET, content: ioKey },
      },
    });
    const point = chip.command(0x40, 4, 0);
    const shared = host.computeSecret(Buffer.concat([Buffer.from([4]), point]));
    expect(hex(chip.command(0x43, 0x0c, 0, hostPoint))).toBe(hex(shared));
    expect(hex(unwrap(chip.command(0x43, 0x0e, 0, hostPoint), 32))).toBe(hex(shared));
    expect(chip.status(0x43, 0x04, 0, hostPoint)).toBe(0);
    expect(hex(chip.memory.slots[1]!.slice(0, 32))).toBe(hex(shared));
    expect(chip.status(0x43, 0x08, 0, hostPoint)).toBe(0);
    expect(tempKeyShown(chip, 1)).toBe(macOf(shared, 1));

    const ephemeral = chip.command(0x40, 4, 0xffff);
    const second = host.computeSecret(Buffer.concat([Buffer.from([4]), ephemeral]));
    expect(hex(chip.command(0x43, 0x0d, 0, hostPoint))).toBe(hex(second));
    expect(chip.status(0x08, 0x06, 0, zeros(32))).toBe(0x0f);
  });

  test("Verify answers a MAC under the IO key", () => {
    const pair = keyPair();
    const message = pattern(40, 1);
    const digest = H(message);
    const signature = createSign("sha256").update(message).sign({ key: pair.privateKey, dsaEncoding: "ieee-p1363" });
    const hostNonce = pattern(32, 0x88);
    const chip = bench({ model, config: IO, slots: { 4: { keyConfig: KEY.SECRET, content: ioKey } } });
    expect(chip.status(0x16, 0x63, 0, digest, hostNonce)).toBe(0);
    const fromBuffer = chip.command(0x45, 0xa2, 4, signature, pair.x, pair.y);
    expect(hex(fromBuffer)).toBe(hex(H(ioKey, digest, hostNonce, signature, [0x45, 0xa2, 4, 0])));
    chip.fixedNonce(digest);
    expect(chip.status(0x16, 0x43, 0, hostNonce)).toBe(0);
    const fromTempKey = chip.command(0x45, 0x82, 4, signature, pair.x, pair.y);
    expect(hex(fromTempKey)).toBe(hex(H(ioKey, digest, hostNonce, signature, [0x45, 0x82, 4, 0])));
  });

  test("Nonce can take TempKey for RandOut", () => {
    const chip = bench({ model, otp });
    const numIn = pattern(20, 0x30);
    const tempKey = chip.randomNonce();
    expect(chip.status(0x16, 1, 0x8000, numIn)).toBe(0);
    expect(tempKeyShown(chip, 0)).toBe(macOf(H(tempKey, numIn, [0x16, 1, 0]), 0));
    expect(chip.status(0x16, 1, 0x8000, numIn)).toBe(0x0f);
  });

  test("a SHA context can be taken out and put back", () => {
    const chip = bench({ model });
    const message = pattern(150, 0x19);
    expect(chip.status(0x47, 0, 0)).toBe(0);
    expect(chip.status(0x47, 1, 64, message.subarray(0, 64))).toBe(0);
    const context = chip.command(0x47, 6, 0);
    expect(context.length).toBe(36);
    expect(hex(context.subarray(32))).toBe("40000000");
    expect(hex(chip.command(0x47, 2, 0))).toBe(hex(H(message.subarray(0, 64))));
    expect(chip.status(0x47, 7, context.length, context)).toBe(0);
    expect(chip.status(0x47, 1, 64, message.subarray(64, 128))).toBe(0);
    expect(hex(chip.command(0x47, 0xc2, 22, message.subarray(128)))).toBe(hex(H(message)));
    const rest = Uint8Array.from([...context.subarray(0, 32), 70, 0, 0, 0, 1, 2, 3, 4, 5]);
    expect(chip.status(0x47, 7, rest.length, rest)).toBe(0x03);
    expect(chip.status(0x47, 7, rest.length + 1, rest, Uint8Array.of(6))).toBe(0);
    expect(hex(chip.command(0x47, 2, 0))).toBe(hex(H(message.subarray(0, 64), [1, 2, 3, 4, 5, 6])));
  });

  test("the digest of SHA goes where its target bits say", () => {
    const pair = keyPair();
    const chip = bench({
      model,
      otp,
      slots: { 0: { slotConfig: 0x4301, keyConfig: KEY.ECC_PRIVATE, content: Buffer.concat([zeros(4), pair.d]) } },
    });
    const message = pattern(30, 2);
    chip.status(0x47, 0, 0);
    const digest = chip.command(0x47, 0x02, 30, message);
    expect(tempKeyShown(chip, 1)).toBe(macOf(digest, 1));
    chip.status(0x47, 0, 0);
    chip.command(0x47, 0x42, 30, message);
    const signature = chip.command(0x41, 0xa0, 0);
    expect(isSignature(message, signature, Buffer.concat([pair.x, pair.y]))).toBe(true);
    expect(chip.status(0x41, 0xa0, 0)).toBe(0x0f);
  });
});
