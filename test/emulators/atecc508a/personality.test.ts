import { describe, expect, test } from "vitest";
import { bench, hex, KEY, NONCE, REFUSED, SECRET, zeros } from "./lab.ts";

describe("UpdateExtra", () => {
  test("while open any value; later only where the byte is 0", () => {
    const open = bench({ stage: "open" });
    expect(open.status(0x20, 0, 5)).toBe(0);
    expect(open.status(0x20, 0, 0)).toBe(0);
    expect(open.status(0x20, 1, 9)).toBe(0);
    expect([...open.memory.config.slice(84, 88)]).toEqual([0, 9, 0x55, 0x55]);
    open.status(0x17, 0x80, 0);
    expect(open.status(0x20, 0, 7)).toBe(0);
    expect(open.status(0x20, 0, 8)).toBe(REFUSED);
    expect(open.status(0x20, 1, 8)).toBe(REFUSED);
  });
});

describe("while open", () => {
  test("Random and Nonce give the pattern that nobody takes for randomness", () => {
    const host = bench({ stage: "open" });
    expect(hex(host.command(0x1b, 0, 0))).toBe("ffff0000".repeat(8));
    expect(hex(host.command(0x16, 0, 0, zeros(20)))).toBe("ffff0000".repeat(8));
    expect(hex(bench({ stage: "configured" }).command(0x1b, 0, 0))).not.toBe("ffff0000".repeat(8));
  });
});

describe("personalities", () => {
  test("the revision", () => {
    expect(hex(bench({ model: "508a" }).command(0x30, 0, 0))).toBe("00005000");
    expect(hex(bench({ model: "608a" }).command(0x30, 0, 0))).toBe("00006002");
  });

  test("508: SHA start spends TempKey; 608: it does not", () => {
    for (const model of ["508a", "608a"] as const) {
      const host = bench({ model });
      host.fixedNonce(NONCE);
      expect(host.status(0x47, 0, 0)).toBe(0);
      expect(host.tempKeyIsValid()).toBe(model === "608a");
    }
  });

  test("a command between ends a SHA computation; Info does not", () => {
    const host = bench();
    host.status(0x47, 0, 0);
    host.command(0x30, 0, 0);
    expect(host.command(0x47, 2, 0).length).toBe(32);
    host.status(0x47, 0, 0);
    host.command(0x1b, 0, 0);
    expect(host.status(0x47, 2, 0)).toBe(REFUSED);
  });

  test("608: SelfTest passes, SecureBoot is disabled, AES needs its enable bit", () => {
    const host = bench({ model: "608a" });
    expect(host.status(0x77, 0x3b, 0)).toBe(0);
    expect(host.status(0x80, 5, 0, zeros(96))).toBe(REFUSED);
    const slots = { 3: { keyConfig: KEY.AES, content: SECRET } };
    expect(bench({ model: "608a", slots, config: { 13: 0 } }).status(0x51, 0, 3, zeros(16))).toBe(REFUSED);
    expect(bench({ model: "608a", slots: { 3: { keyConfig: KEY.SECRET } } }).status(0x51, 0, 3, zeros(16))).toBe(
      REFUSED,
    );
  });

  test("608: output protection leaves only what is as strict", () => {
    const point = Buffer.from(
      "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
      "hex",
    );
    const slots = {
      0: { slotConfig: 0x2004, keyConfig: KEY.ECC_PRIVATE },
      1: { keyConfig: KEY.SECRET },
      4: { keyConfig: KEY.SECRET, content: SECRET },
    };
    for (let level = 0; level < 4; level++) {
      const host = bench({ model: "608a", slots, config: { 90: 2, 91: 0x40 | level | (level << 2) } });
      host.command(0x40, 4, 0);
      const ecdh = [0x0c, 0x0e, 0x08, 0x04].map((mode) => host.command(0x43, mode, 0, point));
      expect(ecdh.map((payload) => payload[0] !== REFUSED || payload.length > 1)).toEqual(
        [0, 1, 2, 3].map((n) => n >= level),
      );
      const message = Uint8Array.of(2, 0, 0, 1, 9);
      const kdf = [0x52, 0x56, 0x42, 0x4a].map((mode) => host.command(0x56, mode, 0x0104, message));
      expect(kdf.map((payload) => payload[0] !== REFUSED || payload.length > 1)).toEqual(
        [0, 1, 2, 3].map((n) => n >= level),
      );
    }
  });

  test("608: without the IO key nothing is encrypted", () => {
    const host = bench({ model: "608a", slots: { 4: { keyConfig: KEY.SECRET, content: SECRET } } });
    expect(host.status(0x56, 0x56, 4, Uint8Array.of(2, 0, 0, 1, 9))).toBe(REFUSED);
  });
});
