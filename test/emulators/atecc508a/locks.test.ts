import { describe, expect, test } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
import { keyPair, publicSlot } from "./formulas.ts";
import { type Bench, bench, H, hex, KEY, NONCE, pattern, REFUSED, SECRET, SNX, zeros } from "./lab.ts";

describe("Lock", () => {
  const summary = (host: Bench, zone: "config" | "data") =>
    zone === "config" ? crc16(host.memory.config) : crc16(Buffer.concat([...host.memory.slots, host.memory.otp]));

  test("the stages follow each other; nothing opens again", () => {
    const host = bench({ stage: "open" });
    expect(host.status(0x17, 0x81, 0)).toBe(REFUSED);
    expect(host.status(0x17, 0x80, 0)).toBe(0);
    expect(host.memory.config[87]).toBe(0);
    expect(host.status(0x17, 0x80, 0)).toBe(REFUSED);
    expect(host.status(0x17, 0x81, 0)).toBe(0);
    expect(host.memory.config[86]).toBe(0);
    expect(host.status(0x17, 0x81, 0)).toBe(REFUSED);
  });

  test("the summary must be right, unless b7 says that it does not count", () => {
    const host = bench({ stage: "open", otp: pattern(64, 3), slots: { 8: { content: pattern(416, 5) } } });
    expect(host.status(0x17, 0x00, summary(host, "config") ^ 1)).toBe(REFUSED);
    expect(host.memory.config[87]).toBe(0x55);
    expect(host.status(0x17, 0x00, summary(host, "config"))).toBe(0);
    expect(host.status(0x17, 0x01, summary(host, "data") ^ 0x8000)).toBe(REFUSED);
    expect(host.memory.config[86]).toBe(0x55);
    expect(host.status(0x17, 0x01, summary(host, "data"))).toBe(0);
  });

  test("one slot: Lockable, not open, once; the summary does not count", () => {
    const slots = { 5: { keyConfig: KEY.SECRET | KEY.LOCKABLE }, 6: { keyConfig: KEY.SECRET } };
    expect(bench({ stage: "open", slots }).status(0x17, 2 | (5 << 2), 0)).toBe(REFUSED);
    for (const stage of ["configured", "locked"] as const) {
      const host = bench({ stage, slots });
      expect(host.status(0x17, 2 | (6 << 2), 0)).toBe(REFUSED);
      expect(host.status(0x17, 2 | (5 << 2), 0xabcd)).toBe(0);
      expect(hex(host.memory.config.slice(88, 90))).toBe("dfff");
      expect(host.status(0x17, 0x82 | (5 << 2), 0)).toBe(REFUSED);
    }
  });
});

const authority = keyPair();

describe("a slot lock stops change, not use", () => {
  const slots = {
    0: { slotConfig: 0x6105, keyConfig: KEY.ECC_PRIVATE },
    1: { keyConfig: KEY.SECRET, content: SECRET },
    2: { slotConfig: 0x0000, keyConfig: KEY.SECRET | KEY.LOCKABLE },
    3: { slotConfig: 0x2000, keyConfig: KEY.SECRET | KEY.LOCKABLE, content: SECRET },
    9: { slotConfig: 0x000a, keyConfig: KEY.PUBLIC_VALIDATED },
    10: { keyConfig: KEY.PUBLIC, content: publicSlot(authority.x, authority.y) },
  };
  /** Both chips are the same, but for the lock. */
  function pair(slot: number): Bench[] {
    return [false, true].map((lock) => {
      const host = bench({ slots });
      if (slot === 0) expect(host.command(0x40, 4, 0).length).toBe(64);
      if (lock) expect(host.status(0x17, 2 | (slot << 2), 0)).toBe(0);
      return host;
    });
  }

  test("GenKey and PrivWrite stop; Sign, ECDH and the public key go on", () => {
    const outcomes = pair(0).map((host) => {
      host.fixedNonce(NONCE);
      const signature = host.command(0x41, 0x80, 0).length;
      const point = host.command(0x40, 0, 0);
      const shared = host.command(0x43, 0, 0, point).length;
      const tempKey = host.randomNonce();
      expect(host.status(0x15, 2, 1)).toBe(0);
      const session = H(SECRET, [0x15, 2, 1, 0], SNX, zeros(25), tempKey);
      const plain = Buffer.concat([zeros(35), Uint8Array.of(1)]);
      const cipher = plain.map((byte, i) => byte ^ (i < 32 ? session[i]! : H(session)[i - 32]!));
      const mac = H(session, [0x46, 0x40, 0, 0], SNX, zeros(21), plain);
      const privWrite = host.status(0x46, 0x40, 0, cipher, mac);
      return [signature, shared, privWrite, host.command(0x40, 4, 0).length];
    });
    expect(outcomes).toEqual([
      [64, 32, 0, 64],
      [64, 32, REFUSED, 1],
    ]);
  });

  test("Write, DeriveKey and Verify (validate) stop", () => {
    expect(pair(2).map((host) => host.status(0x12, 0x82, 2 << 3, zeros(32)))).toEqual([0, REFUSED]);
    const derived = pair(3).map((host) => {
      host.fixedNonce(NONCE);
      return host.status(0x1c, 4, 3);
    });
    expect(derived).toEqual([0, REFUSED]);
    const validated = pair(9).map((host) => {
      host.fixedNonce(NONCE);
      expect(host.status(0x40, 0x10, 9, zeros(3))).toBe(0);
      return host.status(0x45, 3, 9, zeros(83));
    });
    expect(validated).toEqual([1, REFUSED]);
  });

  test("ECDH does not write into a locked slot", () => {
    const host = bench({
      slots: { 2: { slotConfig: 0x200c, keyConfig: KEY.ECC_PRIVATE }, 3: { keyConfig: KEY.SECRET | KEY.LOCKABLE } },
    });
    const point = host.command(0x40, 4, 2);
    expect(host.status(0x43, 0, 2, point)).toBe(0);
    host.status(0x17, 2 | (3 << 2), 0);
    expect(host.status(0x43, 0, 2, point)).toBe(REFUSED);
  });
});
