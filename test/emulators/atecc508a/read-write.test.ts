import { describe, expect, test } from "vitest";
import { type Bench, bench, H, hex, KEY, NONCE, pattern, REFUSED, SECRET, SNX, STAGES, zeros } from "./lab.ts";

describe("Read", () => {
  const content = pattern(72, 0x33);
  const slot = (slotConfig: number, keyConfig: number = KEY.SECRET) => ({ 10: { slotConfig, keyConfig, content } });

  test("config always; OTP and data only when locked", () => {
    for (const stage of STAGES) {
      const host = bench({ stage, slots: slot(0) });
      expect(host.command(0x02, 0x80, 0).length).toBe(32);
      expect(host.command(0x02, 0x00, 0x15).length).toBe(4);
      const allowed = stage === "locked" ? 32 : 1;
      expect(host.command(0x02, 0x81, 8).length).toBe(allowed);
      expect(host.command(0x02, 0x82, 10 << 3).length).toBe(allowed);
    }
  });

  test("IsSecret and EncryptRead", () => {
    expect(hex(bench({ slots: slot(0x0000) }).command(0x02, 0x82, 0x0150))).toBe(hex(content.subarray(32, 64)));
    expect(hex(bench({ slots: slot(0x0000) }).command(0x02, 0x02, 0x0251))).toBe(hex(content.subarray(68)));
    for (const slotConfig of [0x0080, 0x0040]) {
      expect(bench({ slots: slot(slotConfig) }).status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
      expect(bench({ slots: slot(slotConfig) }).status(0x02, 0x02, 10 << 3)).toBe(REFUSED);
    }
  });

  test("a private slot never, whatever IsSecret says", () => {
    for (const slotConfig of [0x0000, 0x0080, 0x00c0]) {
      expect(bench({ slots: slot(slotConfig, KEY.ECC_PRIVATE) }).status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
    }
  });

  test("encrypted: random TempKey from GenDig with the read key, 32 bytes, once", () => {
    const slots = { ...slot(0x00c3), 3: { keyConfig: KEY.SECRET, content: SECRET }, 4: { keyConfig: KEY.SECRET } };
    const prepared = (prepare: (host: Bench) => void) => {
      const host = bench({ slots });
      prepare(host);
      return host;
    };
    const random = prepared((host) => {
      host.randomNonce();
      host.status(0x15, 2, 3);
    });
    expect(random.command(0x02, 0x82, 10 << 3).length).toBe(32);
    expect(random.status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
    const refused: ((host: Bench) => void)[] = [
      () => {},
      (host) => host.randomNonce(),
      (host) => {
        host.fixedNonce(NONCE);
        host.status(0x15, 2, 3);
      },
      (host) => {
        host.randomNonce();
        host.status(0x15, 2, 4);
      },
      (host) => {
        host.randomNonce();
        host.status(0x15, 2, 3);
        host.status(0x15, 0, 0);
      },
    ];
    for (const prepare of refused) expect(prepared(prepare).status(0x02, 0x82, 10 << 3)).toBe(REFUSED);
    const short = prepared((host) => {
      host.randomNonce();
      host.status(0x15, 2, 3);
    });
    expect(short.status(0x02, 0x02, 10 << 3)).toBe(REFUSED);
  });
});

describe("Write", () => {
  const block = pattern(32, 0x21);

  test("config: only while open, and only bytes 16 to 83 and 88 to 127", () => {
    for (const stage of ["configured", "locked"] as const) {
      expect(bench({ stage }).status(0x12, 0, 5, zeros(4))).toBe(REFUSED);
    }
    for (let word = 0; word < 32; word++) {
      const writable = (word >= 4 && word <= 20) || word >= 22;
      expect(bench({ stage: "open" }).status(0x12, 0, word, pattern(4, word))).toBe(writable ? 0 : REFUSED);
    }
    for (const [index, allowed] of [false, true, false, true].entries()) {
      const host = bench({ stage: "open" });
      expect(host.status(0x12, 0x80, 8 * index, block)).toBe(allowed ? 0 : REFUSED);
      expect(hex(host.memory.config.slice(32 * index, 32 * index + 32)) === hex(block)).toBe(allowed);
    }
  });

  test("OTP: 32 bytes while configured; later only by consumption on the 508", () => {
    for (const stage of STAGES) {
      const host = bench({ stage, otp: zeros(64).fill(0xff), config: { 18: 0xaa } });
      expect(host.status(0x12, 0x81, 0, block)).toBe(stage === "configured" ? 0 : REFUSED);
      expect(host.status(0x12, 0x01, 0, zeros(4))).toBe(REFUSED);
    }
    const otp = zeros(64).fill(0xf0);
    const consumption = bench({ otp, config: { 18: 0x55 } });
    expect(consumption.status(0x12, 0x01, 2, Uint8Array.of(0xff, 0x0f, 0x50, 0x00))).toBe(0);
    expect(hex(consumption.memory.otp.slice(8, 12))).toBe("f0005000");
    const other = bench({ model: "608a", otp, config: { 18: 0x55 } });
    expect(other.status(0x12, 0x01, 2, zeros(4))).toBe(REFUSED);
  });

  test("data, configured: 32 bytes whatever the policy, but not a private slot", () => {
    const slots = { 1: { slotConfig: 0x8080, keyConfig: KEY.SECRET }, 2: { keyConfig: KEY.ECC_PRIVATE } };
    const host = bench({ stage: "configured", slots });
    expect(host.status(0x12, 0x82, 1 << 3, block)).toBe(0);
    expect(host.status(0x12, 0x02, 1 << 3, zeros(4))).toBe(REFUSED);
    expect(host.status(0x12, 0x82, 2 << 3, block)).toBe(REFUSED);
    expect(bench({ stage: "open", slots }).status(0x12, 0x82, 1 << 3, block)).toBe(REFUSED);
  });

  test.each(Array.from({ length: 16 }, (_, writeConfig) => writeConfig))(
    "data, locked, WriteConfig %i",
    (writeConfig) => {
      const slots = { 1: { slotConfig: writeConfig << 12, keyConfig: KEY.SECRET } };
      const clear = writeConfig <= 1;
      const encrypted = (writeConfig & 4) !== 0;
      expect(bench({ slots }).status(0x12, 0x82, 1 << 3, block)).toBe(clear ? 0 : REFUSED);
      expect(bench({ slots }).status(0x12, 0x02, 1 << 3, zeros(4))).toBe(clear ? 0 : REFUSED);
      const host = bench({ slots: { ...slots, 0: { keyConfig: KEY.SECRET, content: SECRET } } });
      host.fixedNonce(NONCE);
      host.status(0x15, 2, 0);
      const session = H(SECRET, [0x15, 2, 0, 0], SNX, zeros(25), NONCE);
      const mac = H(session, [0x12, 0x82, 8, 0], SNX, zeros(25), block);
      const cipher = block.map((byte, i) => byte ^ session[i]!);
      expect(host.status(0x12, 0x82, 1 << 3, cipher, mac)).toBe(encrypted ? 0 : REFUSED);
      expect(host.tempKeyIsValid()).toBe(false);
    },
  );

  test("WriteConfig 0001: only while the public key is not valid", () => {
    for (const nibble of [0x5, 0xa]) {
      const content = Uint8Array.of(nibble << 4);
      const host = bench({ slots: { 9: { slotConfig: 0x1000, keyConfig: KEY.PUBLIC_VALIDATED, content } } });
      expect(host.status(0x12, 0x82, 9 << 3, zeros(32))).toBe(nibble === 5 ? REFUSED : 0);
    }
  });

  test("a write takes the validation from a public key, wherever it goes", () => {
    for (const param2 of [9 << 3, (9 << 3) | 0x0100]) {
      const content = Uint8Array.of(0x5c);
      const host = bench({ slots: { 9: { keyConfig: KEY.PUBLIC_VALIDATED, content } } });
      expect(host.status(0x12, 0x82, param2, pattern(32, 0x50))).toBe(0);
      expect(host.memory.slots[9]![0]! >> 4).toBe(0xa);
    }
    const configured = bench({ stage: "configured", slots: { 9: { keyConfig: KEY.PUBLIC_VALIDATED } } });
    configured.status(0x12, 0x82, 9 << 3, pattern(32, 0x50));
    expect(configured.memory.slots[9]![0]).toBe(0x50);
  });

  test("a NoMac key does not encrypt", () => {
    for (const noMac of [0, 0x10]) {
      const slots = {
        1: { slotConfig: 0x4000, keyConfig: KEY.SECRET },
        0: { slotConfig: noMac, keyConfig: KEY.SECRET, content: SECRET },
      };
      const host = bench({ slots });
      host.fixedNonce(NONCE);
      // The same four bytes that the chip hashes for a slot without NoMac.
      expect(host.status(0x15, 2, 0, noMac ? Uint8Array.of(0x15, 2, 0, 0) : zeros(0))).toBe(0);
      const session = H(SECRET, [0x15, 2, 0, 0], SNX, zeros(25), NONCE);
      const mac = H(session, [0x12, 0x82, 8, 0], SNX, zeros(25), block);
      const cipher = block.map((byte, i) => byte ^ session[i]!);
      expect(host.status(0x12, 0x82, 1 << 3, cipher, mac)).toBe(noMac ? REFUSED : 0);
    }
  });

  test("the last block of a slot takes 32 bytes and keeps what fits", () => {
    const host = bench({ slots: { 1: { keyConfig: KEY.SECRET } } });
    expect(host.status(0x12, 0x82, 0x0108, block)).toBe(0);
    expect(hex(host.memory.slots[1]!.slice(32))).toBe(hex(block.subarray(0, 4)));
    expect(hex(Uint8Array.from(host.memory.slots[2]!))).toBe(hex(zeros(36)));
  });
});
