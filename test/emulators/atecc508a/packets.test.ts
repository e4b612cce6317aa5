import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc16 } from "../../../src/bytes/crc16.ts";
import type { Model } from "../../../src/emulators/atecc508a/chip.ts";
import { COMMANDS } from "../../../src/emulators/atecc508a/commands/table.ts";
import { ADDRESS, bench, hex, KEY, pattern, request, type Setup, type Stage } from "./lab.ts";

const OPCODES = [...COMMANDS.keys()];

/** A chip with something in every kind of slot, so that random commands get somewhere. */
const populated: Setup["slots"] = {
  0: { slotConfig: 0x2087, keyConfig: KEY.ECC_PRIVATE },
  1: { slotConfig: 0x0000, keyConfig: KEY.SECRET, content: pattern(36, 3) },
  2: { slotConfig: 0x43c1, keyConfig: KEY.SECRET, content: pattern(36, 4) },
  3: { slotConfig: 0x2400, keyConfig: KEY.SECRET, content: pattern(36, 5) },
  4: { slotConfig: 0x0000, keyConfig: KEY.AES, content: pattern(36, 6) },
  8: { slotConfig: 0x0000, keyConfig: KEY.SECRET, content: pattern(416, 7) },
  9: { slotConfig: 0x000a, keyConfig: KEY.PUBLIC_VALIDATED, content: pattern(72, 8) },
  10: { slotConfig: 0x1000, keyConfig: KEY.PUBLIC, content: pattern(72, 9) },
  15: { slotConfig: 0x0020, keyConfig: KEY.SECRET, content: pattern(72, 10) },
};

const model = fc.constantFrom<Model>("508a", "608a");
const stage = fc.constantFrom<Stage>("open", "configured", "locked");
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });

/** Lengths of data that some command takes. */
const likelyLength = fc.constantFrom(0, 3, 4, 13, 16, 20, 32, 36, 64, 68, 77, 83, 96, 128);

const wellFormed = fc
  .record({
    opcode: fc.constantFrom(...OPCODES),
    param1: fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 7, 0x10, 0x40, 0x80, 0x82), fc.integer({ min: 0, max: 255 })),
    param2: fc.oneof(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 0, max: 0xffff })),
    length: fc.oneof(likelyLength, fc.integer({ min: 0, max: 144 })),
    seed: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ opcode, param1, param2, length, seed }) => request(opcode, param1, param2, pattern(length, seed)));

/** One bit of a packet is wrong, or it is cut, or grown. */
const mutated = fc
  .record({ packet: wellFormed, at: fc.nat(), how: fc.constantFrom("flip", "cut", "grow"), bit: fc.nat(7) })
  .map(({ packet, at, how, bit }) => {
    if (how === "cut") return packet.slice(0, at % packet.length);
    if (how === "grow") return Uint8Array.from([...packet, at & 0xff]);
    const changed = packet.slice();
    const index = at % changed.length;
    changed[index] = (changed[index] ?? 0) ^ (1 << bit);
    return changed;
  });

const step = fc.oneof(
  { weight: 6, arbitrary: wellFormed.map((packet) => ({ kind: "write" as const, address: ADDRESS, bytes: packet })) },
  { weight: 2, arbitrary: mutated.map((packet) => ({ kind: "write" as const, address: ADDRESS, bytes: packet })) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("write" as const), address: fc.nat(255), bytes: bytes(300) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("write" as const), address: fc.constant(0), bytes: bytes(3) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("read" as const), address: fc.constant(ADDRESS), length: fc.nat(300) }),
  },
);

describe("whatever comes over the bus", () => {
  test("nothing throws, and after each command there is one whole answer", () => {
    fc.assert(
      fc.property(model, stage, fc.array(step, { minLength: 1, maxLength: 60 }), (model, stage, steps) => {
        const { chip } = bench({ model, stage, slots: populated });
        for (const step of steps) {
          if (step.kind === "read") {
            const answer = chip.read(step.address, step.length);
            if (answer) expect(answer.length).toBe(step.length);
            continue;
          }
          const acknowledged = chip.write(step.address, step.bytes);
          if (!acknowledged || step.bytes[0] !== 3) continue;
          if (chip.read(ADDRESS, 0) === undefined) continue; // Pause
          chip.write(ADDRESS, Uint8Array.of(0));
          expectWhole(chip.read(ADDRESS, 160) ?? new Uint8Array());
        }
      }),
      { numRuns: 400 },
    );
  });

  test("a lock byte is only ever 55 or 00, and a lock never opens", () => {
    fc.assert(
      fc.property(model, stage, fc.array(wellFormed, { minLength: 1, maxLength: 40 }), (model, stage, packets) => {
        const { chip, memory } = bench({ model, stage, slots: populated });
        let before = [0x55, 0x55];
        for (const packet of packets) {
          chip.write(0, Uint8Array.of(1));
          chip.write(ADDRESS, packet);
          const now = [memory.config[86] ?? -1, memory.config[87] ?? -1];
          for (const [i, byte] of now.entries()) {
            expect([0x55, 0x00]).toContain(byte);
            if (before[i] === 0x00) expect(byte).toBe(0x00);
          }
          before = now;
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** Count, payload, CRC, then FF. */
function expectWhole(answer: Uint8Array): void {
  const count = answer[0] ?? 0;
  expect(count).toBeGreaterThanOrEqual(4);
  const crc = crc16(answer.subarray(0, count - 2));
  expect([answer[count - 2], answer[count - 1]]).toEqual([crc & 0xff, crc >> 8]);
  expect(answer.subarray(count).every((byte) => byte === 0xff)).toBe(true);
  if (count === 4) expect([0x00, 0x01, 0x03, 0x05, 0x0f, 0xff]).toContain(answer[1]);
}

describe("malformed packets: FF, and nothing changes", () => {
  const info = request(0x30, 2, 0);
  const cases: [string, Uint8Array][] = [
    ["no packet at all", info.slice(0, 1)],
    ["a count alone", info.slice(0, 2)],
    ["cut short", info.slice(0, -1)],
    ["one byte too long", Uint8Array.from([...info, 0])],
    ["over-long", Uint8Array.from([...info, ...pattern(300, 1)])],
    ["a count that is too large", Uint8Array.from([3, 8, ...info.slice(2)])],
    ["a count below the minimum, with its CRC", Uint8Array.from([3, 4, 0x30, 0xcc, 0x50])],
    ["a wrong CRC", info.map((byte, i) => (i === 7 ? byte ^ 1 : byte))],
    ["a wrong bit in the body", info.map((byte, i) => (i === 4 ? byte ^ 0x80 : byte))],
    ["a wrong CRC and an unknown opcode", request(0x99, 0, 0).map((byte, i) => (i === 6 ? byte ^ 1 : byte))],
  ];
  test.each(cases)("%s", (_, bytes) => {
    const host = bench();
    host.fixedNonce(pattern(32, 1));
    host.status(0x47, 0, 0);
    const state = host.state();
    expect(host.chip.write(ADDRESS, bytes)).toBe(true);
    expect(hex(host.chip.read(ADDRESS, 4))).toBe("04ff0142");
    expect(host.state()).toEqual(state);
    expect(host.command(0x47, 2, 0).length).toBe(32);
  });
});

describe("what no state of the chip could accept: 03", () => {
  const d = (length: number) => new Uint8Array(length);
  type Case = readonly [name: string, opcode: number, param1: number, param2: number, data: Uint8Array];
  const both: Case[] = [
    ["an unknown opcode", 0x99, 0, 0, d(0)],
    ["Info mode 5", 0x30, 5, 0, d(0)],
    ["Info KeyValid of slot 16", 0x30, 1, 16, d(0)],
    ["Info with data", 0x30, 0, 0, d(1)],
    ["Random mode 2", 0x1b, 2, 0, d(0)],
    ["Random with param2", 0x1b, 0, 1, d(0)],
    ["Nonce mode 2", 0x16, 2, 0, d(20)],
    ["Nonce random with 32 bytes", 0x16, 0, 0, d(32)],
    ["Nonce pass-through with 20 bytes", 0x16, 3, 0, d(20)],
    ["Nonce with param2 1", 0x16, 3, 1, d(32)],
    ["GenDig zone 6", 0x15, 6, 0, d(0)],
    ["GenDig config block 4", 0x15, 0, 4, d(0)],
    ["GenDig OTP block 2", 0x15, 1, 2, d(0)],
    ["GenDig slot 16", 0x15, 2, 16, d(0)],
    ["GenDig shared nonce without data", 0x15, 3, 0, d(0)],
    ["GenDig counter 2", 0x15, 4, 2, d(0)],
    ["MAC mode b3", 0x08, 0x08, 0, d(32)],
    ["MAC mode b7", 0x08, 0x80, 0, d(32)],
    ["MAC mode 1 with a challenge", 0x08, 1, 0, d(32)],
    ["MAC mode 0 without one", 0x08, 0, 0, d(0)],
    ["CheckMac mode b4", 0x28, 0x10, 0, d(77)],
    ["CheckMac slot 16", 0x28, 0, 16, d(77)],
    ["CheckMac with 76 bytes", 0x28, 0, 0, d(76)],
    ["DeriveKey mode 1", 0x1c, 1, 0, d(0)],
    ["DeriveKey with 31 bytes", 0x1c, 0, 0, d(31)],
    ["GenKey mode 1", 0x40, 1, 0, d(0)],
    ["GenKey mode 14", 0x40, 0x14, 0, d(3)],
    ["GenKey mode 10 without OtherData", 0x40, 0x10, 0, d(0)],
    ["GenKey slot 16", 0x40, 4, 16, d(0)],
    ["PrivWrite mode 80", 0x46, 0x80, 0, d(68)],
    ["PrivWrite with 36 bytes", 0x46, 0, 0, d(36)],
    ["Read zone 3", 0x02, 3, 0, d(0)],
    ["Read b6", 0x02, 0x42, 0, d(0)],
    ["Read behind config", 0x02, 0, 32, d(0)],
    ["Read behind OTP", 0x02, 1, 16, d(0)],
    ["Read slot 16", 0x02, 2, 0x80, d(0)],
    ["Read behind slot 0", 0x02, 2, 0x0101, d(0)],
    ["Read behind slot 8", 0x02, 2, 0x0d40, d(0)],
    ["Read block at word 1", 0x02, 0x80, 1, d(0)],
    ["Read a block longer than the rest of the slot", 0x02, 0x82, 0x0100, d(0)],
    ["Write zone 3", 0x12, 3, 0, d(4)],
    ["Write b6 without MAC", 0x12, 0xc2, 0, d(32)],
    ["Write b6 in the config zone", 0x12, 0xc0, 0, d(64)],
    ["Write 64 bytes into OTP", 0x12, 0x81, 0, d(64)],
    ["Write 4 bytes as 32", 0x12, 0x80, 8, d(4)],
    ["Write 32 bytes as 4", 0x12, 0x00, 8, d(32)],
    ["Write behind slot 9", 0x12, 0x82, 0x0348, d(32)],
    ["Write slot 16", 0x12, 0x82, 0x80, d(32)],
    ["Lock zone 3", 0x17, 3, 0, d(0)],
    ["Lock config with a slot", 0x17, 4, 0, d(0)],
    ["Lock b6", 0x17, 0x40, 0, d(0)],
    ["Sign mode 20", 0x41, 0x20, 0, d(0)],
    ["Sign mode C0", 0x41, 0xc0, 0, d(0)],
    ["Sign slot 16", 0x41, 0x80, 16, d(0)],
    ["Verify mode 1", 0x45, 1, 0, d(128)],
    ["Verify external on another curve", 0x45, 2, 5, d(128)],
    ["Verify stored with 128 bytes", 0x45, 0, 9, d(128)],
    ["Verify validate with 64 bytes", 0x45, 3, 9, d(64)],
    ["ECDH with 63 bytes", 0x43, 0, 0, d(63)],
    ["ECDH mode 10", 0x43, 0x10, 0, d(64)],
    ["SHA update of 63 bytes", 0x47, 1, 63, d(63)],
    ["SHA length in param2 that is not the data's", 0x47, 2, 5, d(4)],
    ["SHA end of 64 bytes", 0x47, 2, 64, d(64)],
    ["SHA mode 8", 0x47, 8, 0, d(0)],
    ["Counter 2", 0x24, 0, 2, d(0)],
    ["Counter mode 2", 0x24, 2, 0, d(0)],
    ["UpdateExtra of 256", 0x20, 0, 256, d(0)],
    ["UpdateExtra mode 3", 0x20, 3, 0, d(0)],
  ];
  const only508: Case[] = [
    ["Info mode 4", 0x30, 4, 0, d(0)],
    ["Nonce of 64 bytes", 0x16, 0x23, 0, d(64)],
    ["Nonce into another buffer", 0x16, 0x43, 0, d(32)],
    ["Nonce with param2 8000", 0x16, 0, 0x8000, d(20)],
    ["GenKey into TempKey", 0x40, 4, 0xffff, d(0)],
    ["Sign mode A0", 0x41, 0xa0, 0, d(0)],
    ["Verify mode 22", 0x45, 0x22, 4, d(128)],
    ["Verify mode 80", 0x45, 0x80, 9, d(64)],
    ["ECDH mode 0C", 0x43, 0x0c, 0, d(64)],
    ["SHA mode 6", 0x47, 6, 0, d(0)],
    ["SHA mode 42", 0x47, 0x42, 0, d(0)],
    ["AES", 0x51, 0, 0, d(16)],
    ["KDF", 0x56, 0x10, 0, d(20)],
    ["SelfTest", 0x77, 0x3b, 0, d(0)],
    ["SecureBoot", 0x80, 5, 0, d(96)],
    ["Pause with data", 0x01, 0, 0, d(1)],
    ["HMAC mode b0", 0x11, 1, 0, d(0)],
  ];
  const only608: Case[] = [
    ["HMAC", 0x11, 4, 0, d(0)],
    ["Pause", 0x01, 0, 0, d(0)],
    ["UpdateExtra mode 2", 0x20, 2, 15, d(0)],
    ["SHA HMAC end of the 508", 0x47, 5, 0, d(0)],
    ["SHA target 2", 0x47, 0x82, 0, d(0)],
    ["SHA context too short", 0x47, 7, 35, d(35)],
    ["Nonce of 64 bytes into the Alternate Key Buffer", 0x16, 0xa3, 0, d(64)],
    ["Nonce target 3", 0x16, 0xc3, 0, d(32)],
    ["GenKey into TempKey with a digest", 0x40, 0x0c, 0xffff, d(0)],
    ["Verify validate with a MAC", 0x45, 0x83, 9, d(83)],
    ["ECDH encrypted into TempKey", 0x43, 0x0a, 0, d(64)],
    ["ECDH from TempKey into a slot", 0x43, 0x05, 0, d(64)],
    ["AES op 2", 0x51, 2, 0, d(16)],
    ["AES of 15 bytes", 0x51, 0, 0, d(15)],
    ["AES slot 16", 0x51, 0, 16, d(16)],
    ["GFM of 16 bytes", 0x51, 3, 0, d(16)],
    ["KDF algorithm 3", 0x56, 0x70, 0, d(20)],
    ["KDF target 6", 0x56, 0x18, 0, d(20)],
    ["KDF AEAD", 0x56, 0x10, 0, Uint8Array.of(1, 2, 0, 1, 9)],
    ["KDF length that is not the message's", 0x56, 0x10, 0, Uint8Array.of(1, 0, 0, 2, 9)],
    ["KDF of 64 bytes into a slot of 36", 0x56, 0x08, 0x0100, Uint8Array.of(1, 1, 0, 1, 9)],
    ["KDF HKDF message in a slot", 0x56, 0x50, 0, Uint8Array.of(0, 0, 0, 1, 9)],
    ["SelfTest of bit 04", 0x77, 0x04, 0, d(0)],
    ["SelfTest of nothing", 0x77, 0, 0, d(0)],
    ["SecureBoot mode 4", 0x80, 4, 0, d(96)],
  ];
  const all = [
    ...both.flatMap((c) => [["508a", ...c] as const, ["608a", ...c] as const]),
    ...only508.map((c) => ["508a", ...c] as const),
    ...only608.map((c) => ["608a", ...c] as const),
  ];
  test.each(all)("%s: %s", (model, _, opcode, param1, param2, data) => {
    for (const stage of ["open", "configured", "locked"] as const) {
      const host = bench({ model, stage, slots: populated });
      host.fixedNonce(pattern(32, 1));
      const before = Uint8Array.from(host.memory.config);
      expect(host.status(opcode, param1, param2, data)).toBe(3);
      expect(host.tempKeyIsValid()).toBe(true);
      expect(hex(Uint8Array.from(host.memory.config))).toBe(hex(before));
    }
  });
});
