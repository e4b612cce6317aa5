import { p256 } from "@noble/curves/nist.js";
import { describe, expect, test } from "vitest";
import { type Bench, bench, hex, KEY, NONCE, REFUSED, SECRET, STAGES, type Stage, zeros } from "./lab.ts";

describe("PrivWrite and GenKey", () => {
  const scalar = Buffer.concat([zeros(35), Uint8Array.of(7)]);

  test("in clear only while configured, only a scalar from 1 to n-1", () => {
    const slots = { 2: { slotConfig: 0x4000, keyConfig: KEY.ECC_PRIVATE } };
    for (const stage of STAGES) {
      const status = bench({ stage, slots }).status(0x46, 0, 2, scalar, zeros(32));
      expect(status).toBe(stage === "configured" ? 0 : REFUSED);
    }
    const n = Buffer.from("00000000ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex");
    expect(bench({ stage: "configured", slots }).status(0x46, 0, 2, n, zeros(32))).toBe(REFUSED);
    expect(bench({ stage: "configured", slots }).status(0x46, 0, 2, zeros(36), zeros(32))).toBe(REFUSED);
    const secret = { 2: { slotConfig: 0x4000, keyConfig: KEY.SECRET } };
    expect(bench({ stage: "configured", slots: secret }).status(0x46, 0, 2, scalar, zeros(32))).toBe(REFUSED);
  });

  test("GenKey: not while open; WriteConfig bit 13 once data is locked", () => {
    for (const stage of STAGES) {
      for (const slotConfig of [0x2000, 0x0000]) {
        const host = bench({ stage, slots: { 2: { slotConfig, keyConfig: KEY.ECC_PRIVATE } } });
        const allowed = stage === "configured" || (stage === "locked" && slotConfig === 0x2000);
        expect(host.command(0x40, 4, 2).length).toBe(allowed ? 64 : 1);
        expect(hex(host.command(0x30, 1, 2))).toBe(allowed ? "01000000" : "00000000");
      }
    }
  });

  test("the public key of a slot without PubInfo is answered once, at creation", () => {
    const host = bench({ slots: { 2: { slotConfig: 0x2000, keyConfig: KEY.ECC_PRIVATE_NO_PUB_INFO } } });
    expect(host.command(0x40, 4, 2).length).toBe(64);
    expect(host.status(0x40, 0, 2)).toBe(REFUSED);
    host.fixedNonce(NONCE);
    expect(host.status(0x40, 8, 2)).toBe(REFUSED);
  });

  test("no key, no public key, no signature", () => {
    const host = bench({ slots: { 2: { slotConfig: 0x2001, keyConfig: KEY.ECC_PRIVATE } } });
    expect(host.status(0x40, 0, 2)).toBe(REFUSED);
    host.fixedNonce(NONCE);
    expect(host.status(0x41, 0x80, 2)).toBe(REFUSED);
  });
});

describe("Sign", () => {
  const slot = (slotConfig: number) => ({
    2: { slotConfig: 0x2000 | slotConfig, keyConfig: KEY.ECC_PRIVATE },
    3: { keyConfig: KEY.SECRET, content: SECRET },
  });

  test("ReadKey bit 0 allows external, bit 1 internal", () => {
    for (const readKey of [0, 1, 2, 3]) {
      const host = bench({ slots: slot(readKey) });
      host.command(0x40, 4, 2);
      host.fixedNonce(NONCE);
      expect(host.command(0x41, 0x80, 2).length).toBe(readKey & 1 ? 64 : 1);
      host.fixedNonce(NONCE);
      host.status(0x15, 2, 3);
      expect(host.command(0x41, 0x00, 2).length).toBe(readKey & 2 ? 64 : 1);
    }
  });

  test("internal needs GenDig of a slot or a GenKey digest", () => {
    const host = bench({ slots: slot(2) });
    host.command(0x40, 4, 2);
    host.fixedNonce(NONCE);
    expect(host.status(0x41, 0x00, 2)).toBe(REFUSED);
    host.fixedNonce(NONCE);
    host.status(0x15, 0, 0);
    expect(host.status(0x41, 0x00, 2)).toBe(REFUSED);
    host.fixedNonce(NONCE);
    host.command(0x40, 8, 2);
    expect(host.command(0x41, 0x00, 2).length).toBe(64);
    expect(host.status(0x41, 0x00, 2)).toBe(REFUSED);
  });

  test("a private slot of another key type does not sign", () => {
    const content = Buffer.concat([zeros(4), SECRET]);
    const host = bench({ slots: { 2: { slotConfig: 0x2001, keyConfig: 0x1d, content } } });
    host.fixedNonce(NONCE);
    expect(host.status(0x41, 0x80, 2)).toBe(REFUSED);
  });
});

describe("Verify", () => {
  const stored = (host: Bench, slot: number) => {
    host.fixedNonce(NONCE);
    return host.status(0x45, 0, slot, zeros(64));
  };
  const content = (nibble: number) => {
    const publicKey = p256.getPublicKey(SECRET, false).subarray(1);
    return Buffer.concat([
      Uint8Array.of(nibble << 4, 0, 0, 0),
      publicKey.subarray(0, 32),
      zeros(4),
      publicKey.subarray(32),
    ]);
  };

  test("stored: a public slot, validated if it must be, and only when data is locked", () => {
    const slots = {
      5: { keyConfig: KEY.PUBLIC },
      9: { keyConfig: KEY.PUBLIC, content: content(0) },
      10: { keyConfig: KEY.PUBLIC_VALIDATED, content: content(5) },
      11: { keyConfig: KEY.PUBLIC_VALIDATED, content: content(0xa) },
      12: { keyConfig: KEY.SECRET, content: content(5) },
      13: { keyConfig: KEY.ECC_PRIVATE, content: content(5) },
    };
    const host = bench({ slots });
    const statuses = [5, 9, 10, 11, 12, 13].map((slot) => stored(host, slot));
    expect(statuses).toEqual([REFUSED, 1, 1, REFUSED, REFUSED, REFUSED]);
    expect(stored(bench({ stage: "configured", slots }), 9)).toBe(REFUSED);
  });

  test("external works while open", () => {
    const host = bench({ stage: "open" });
    host.fixedNonce(NONCE);
    const point = p256.getPublicKey(SECRET, false).subarray(1);
    expect(host.status(0x45, 2, 4, p256.sign(NONCE, SECRET, { prehash: false }), point)).toBe(0);
    expect(host.status(0x45, 2, 4, zeros(64), point)).toBe(REFUSED);
  });

  test("validate: TempKey from GenKey of that slot, a slot to be validated, a parent that is fit", () => {
    const slots = {
      9: { slotConfig: 0x000b, keyConfig: KEY.PUBLIC_VALIDATED, content: content(0) },
      10: { slotConfig: 0x000b, keyConfig: KEY.PUBLIC, content: content(0) },
      11: { keyConfig: KEY.PUBLIC, content: content(0) },
      12: { slotConfig: 0x000d, keyConfig: KEY.PUBLIC_VALIDATED, content: content(0) },
      13: { keyConfig: KEY.PUBLIC_VALIDATED, content: content(0xa) },
      14: { slotConfig: 0x0003, keyConfig: KEY.PUBLIC_VALIDATED, content: content(0) },
    };
    const host = bench({ slots });
    function attempt(digested: number | undefined, slot: number): number {
      host.fixedNonce(NONCE);
      if (digested !== undefined) expect(host.status(0x40, 0x10, digested, zeros(3))).toBe(0);
      return host.status(0x45, 3, slot, zeros(83));
    }
    expect(attempt(9, 9)).toBe(1);
    expect(attempt(undefined, 9)).toBe(REFUSED);
    expect(attempt(10, 9)).toBe(REFUSED);
    expect(attempt(10, 10)).toBe(REFUSED);
    expect(attempt(12, 12)).toBe(REFUSED);
    expect(attempt(14, 14)).toBe(REFUSED);
  });
});

describe("ECDH", () => {
  test("ReadKey bit 2; into the next slot only from an even one into one that is not private", () => {
    const attempt = (slot: number, readKey: number, next: number) => {
      const keySlot = { slotConfig: 0x2000 | readKey, keyConfig: KEY.ECC_PRIVATE };
      const host = bench({ slots: { [slot]: keySlot, [slot + 1]: { keyConfig: next } } });
      return host.command(0x43, 0, slot, host.command(0x40, 4, slot));
    };
    expect(attempt(2, 0x4, KEY.SECRET).length).toBe(32);
    expect(hex(attempt(2, 0x0, KEY.SECRET))).toBe("0f");
    expect(hex(attempt(2, 0x8, KEY.SECRET))).toBe("0f");
    expect(hex(attempt(2, 0xc, KEY.SECRET))).toBe("00");
    expect(hex(attempt(3, 0xc, KEY.SECRET))).toBe("0f");
    expect(hex(attempt(2, 0xc, KEY.ECC_PRIVATE))).toBe("0f");
  });
});

describe("GenDig", () => {
  test("a valid TempKey; OTP and data not while open; OtherData exactly for a NoMac slot", () => {
    const slots = { 3: { keyConfig: KEY.SECRET }, 4: { slotConfig: 0x10, keyConfig: KEY.SECRET } };
    expect(bench({ slots }).status(0x15, 2, 3)).toBe(REFUSED);
    const attempt = (stage: Stage, zone: number, param2: number, length: number) => {
      const host = bench({ stage, slots });
      host.fixedNonce(NONCE);
      return host.status(0x15, zone, param2, zeros(length));
    };
    for (const stage of STAGES) {
      const later = stage === "open" ? REFUSED : 0;
      expect([0, 1, 4, 5].map((zone) => attempt(stage, zone, 0, 0))).toEqual([0, later, 0, 0]);
      expect(attempt(stage, 3, 0, 32)).toBe(0);
      expect(attempt(stage, 2, 3, 0)).toBe(later);
      expect(attempt(stage, 2, 4, 4)).toBe(later);
      expect(attempt(stage, 2, 3, 4)).toBe(REFUSED);
      expect(attempt(stage, 2, 4, 0)).toBe(REFUSED);
    }
  });
});
