import { describe, expect, it } from "vitest";
import { formatChipLocation, parseChipLocation } from "../../../src/roots/atecc/location.ts";

describe("where a chip is", () => {
  it.each([
    ["atecc:/dev/i2c-1", "i2c-dev", "/dev/i2c-1", 0x60],
    ["atecc:/dev/i2c-1@0x35", "i2c-dev", "/dev/i2c-1", 0x35],
    ["atecc:unix:/run/chip.sock", "socket", "/run/chip.sock", 0x60],
    ["atecc:unix:/run/chip.sock@0x36", "socket", "/run/chip.sock", 0x36],
  ] as const)("reads %s", (text, kind, path, address) => {
    expect(parseChipLocation(text)).toEqual({ bus: { kind, path }, address });
    expect(formatChipLocation(parseChipLocation(text))).toBe(text);
  });

  it.each([
    "",
    "atecc:",
    "atecc:i2c-1",
    "tpm:/dev/tpmrm0",
    "atecc:/dev/i2c-1@",
    "atecc:/dev/i2c-1@x",
    "atecc:/dev/i2c-1@0x78",
  ])("refuses '%s' as wrong usage", (text) => {
    expect(() => parseChipLocation(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it("knows the 8-bit form that others print, and says so", () => {
    expect(() => parseChipLocation("atecc:/dev/i2c-1@0xC0")).toThrow(
      expect.objectContaining({ hint: "0xc0 looks like the 8-bit form of 0x60" }),
    );
  });
});
