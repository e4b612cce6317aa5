import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, equal, fromHex, toHex, xor } from "../../src/bytes/bytes.ts";
import { crc16 } from "../../src/bytes/crc16.ts";
import { OutOfBytes, Reader } from "../../src/bytes/reader.ts";
import { Writer } from "../../src/bytes/writer.ts";

describe("Reader and Writer", () => {
  it("give back every field as it was written", () => {
    const fields = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant("u8" as const), value: fc.integer({ min: 0, max: 0xff }) }),
        fc.record({
          kind: fc.constantFrom("u16le" as const, "u16be" as const),
          value: fc.integer({ min: 0, max: 0xffff }),
        }),
        fc.record({
          kind: fc.constantFrom("u32le" as const, "u32be" as const),
          value: fc.integer({ min: 0, max: 0xffffffff }),
        }),
      ),
    );
    fc.assert(
      fc.property(fields, fc.uint8Array({ maxLength: 40 }), (list, tail) => {
        const writer = new Writer(list.length * 4 + tail.length);
        for (const { kind, value } of list) writer[kind](value);
        const reader = new Reader(writer.put(tail).done());
        for (const { kind, value } of list) expect(reader[kind]()).toBe(value);
        expect(equal(reader.rest(), tail)).toBe(true);
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  it("read nothing past the end, and move nothing when they refuse", () => {
    const reader = new Reader(fromHex("01 02 03"));
    expect(reader.u16be()).toBe(0x0102);
    expect(() => reader.u16le()).toThrow(OutOfBytes);
    expect(() => reader.take(-1)).toThrow(OutOfBytes);
    expect(() => reader.take(0.5)).toThrow(OutOfBytes);
    expect(reader.u8()).toBe(3);
    expect(() => reader.u8()).toThrow(OutOfBytes);
  });

  it("see only their own part of a larger buffer", () => {
    const reader = new Reader(fromHex("aa 01 02 bb").subarray(1, 3));
    expect(reader.u16le()).toBe(0x0201);
    expect(() => reader.u8()).toThrow(OutOfBytes);
  });

  it("write nothing that does not fit", () => {
    const writer = new Writer(3).u16le(0x1234);
    expect(() => writer.u16le(1)).toThrow(OutOfBytes);
    expect(() => writer.u8(256)).toThrow(RangeError);
    expect(() => writer.u8(-1)).toThrow(RangeError);
    expect(toHex(writer.u8(0xff).done())).toBe("3412ff");
  });
});

describe("crc16", () => {
  // Check values of the fact sheet: packets and their CRC as sent, low byte first.
  it.each([
    ["04 11", "33 43"],
    ["04 00", "03 40"],
    ["04 0f", "23 42"],
    ["04 ee", "31 41"],
    ["07 30 00 00 00", "03 5d"],
    ["07 1b 00 00 00", "24 cd"],
    ["07 02 00 15 00", "17 5d"],
    ["07 40 04 00 00", "83 87"],
    ["07 41 80 00 00", "28 05"],
    ["07 17 80 00 00", "39 8d"],
  ])("of %s is %s", (covered, sent) => {
    expect(toHex(new Writer(2).u16le(crc16(fromHex(covered))).done())).toBe(sent.replaceAll(" ", ""));
  });

  it("equals the definition, bit by bit, and can be continued", () => {
    const byDefinition = (bytes: Uint8Array) => {
      let register = 0;
      for (const byte of bytes) {
        for (let bit = 0; bit < 8; bit++) {
          const differ = ((byte >> bit) & 1) !== register >> 15;
          register = (register << 1) & 0xffff;
          if (differ) register ^= 0x8005;
        }
      }
      return register;
    };
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(crc16(a)).toBe(byDefinition(a));
        expect(crc16(b, crc16(a))).toBe(byDefinition(concat(a, b)));
      }),
    );
  });
});

describe("bytes", () => {
  it("go to hexadecimal and back", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(fromHex(toHex(bytes))).toEqual(bytes);
      }),
    );
    expect(() => fromHex("0")).toThrow(RangeError);
    expect(() => fromHex("zz")).toThrow(RangeError);
  });

  it("xor twice to themselves", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 8, maxLength: 8 }),
        fc.uint8Array({ minLength: 8, maxLength: 8 }),
        (a, b) => {
          expect(xor(xor(a, b), b)).toEqual(a);
        },
      ),
    );
  });
});
