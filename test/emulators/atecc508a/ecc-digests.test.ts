import { createECDH, createSign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { isSignature, keyPair, macOf, otherKey, publicSlot, tempKeyShown, xor } from "./formulas.ts";
import { type Bench, bench, H, hex, KEY, NONCE, pattern, SECRET, SN, SNX, zeros } from "./lab.ts";

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

  test("internal says whether the slot is locked and its public key valid", () => {
    const { x, y } = keyPair();
    for (const locked of [false, true]) {
      for (const nibble of [0x5, 0xa]) {
        const chip = bench({
          slots: {
            0: { slotConfig: 0x2082, keyConfig: KEY.ECC_PRIVATE },
            9: { keyConfig: KEY.PUBLIC_VALIDATED, content: publicSlot(x, y, nibble) },
          },
        });
        const point = chip.command(0x40, 4, 0);
        if (locked) expect(chip.status(0x17, 2 | (9 << 2), 0)).toBe(0);
        chip.fixedNonce(NONCE);
        expect(chip.status(0x40, 0x10, 9, zeros(3))).toBe(0);
        const digest = H(NONCE, [0x40, 0, 0, 0], SNX, zeros(25), x, y);
        const flags = 0x59;
        const message = Buffer.from([
          ...[...digest, 0x41, 0, 0, 0, 0, 0, KEY.PUBLIC_VALIDATED, 0, flags, 0, 0, SN[8]!, 0, 0, 0, 0, SN[0]!, SN[1]!],
          ...[0, 0, locked ? 0 : 1, nibble === 0x5 ? 1 : 0, 0],
        ]);
        expect(message.length).toBe(55);
        expect(isSignature(message, chip.command(0x41, 0, 0), point)).toBe(true);
      }
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
  function sessionKey(chip: Bench): Uint8Array {
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
  test("the X coordinate, as node:crypto has it; into the next slot when ReadKey says so", () => {
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
