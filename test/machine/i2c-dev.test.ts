import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openI2cDevice } from "../../src/machine/i2c-dev.ts";

// What a bus carries is tested against the emulated chip, in test/strangers.
describe("an I2C device that is none", () => {
  it("says how to enable I2C when there is no bus", () => {
    expect(() => openI2cDevice("/dev/i2c-there-is-none")).toThrow(
      expect.objectContaining({ code: "ROOT_UNAVAILABLE", hint: expect.stringContaining("raspi-config") }),
    );
  });

  it("is refused at the first transaction when the file is something else, and closes", () => {
    const before = readdirSync("/proc/self/fd").length;
    const bus = openI2cDevice("/dev/null");
    const refused = expect.objectContaining({ code: "ROOT_UNAVAILABLE", hint: expect.stringContaining("/dev/i2c-1") });
    expect(() => bus.write(0x60, Uint8Array.of(0))).toThrow(refused);
    expect(() => bus.read(0x60, 1)).toThrow(refused);
    expect(() => bus.read(0x80, 1)).toThrow(RangeError);
    expect(() => bus.read(0x60, -1)).toThrow(RangeError);
    expect(() => bus.read(0x60, 8193)).toThrow(RangeError);
    bus.close();
    bus.close();
    expect(readdirSync("/proc/self/fd").length).toBe(before);
    expect(() => bus.read(0x60, 1)).toThrow(expect.objectContaining({ code: "ROOT_UNAVAILABLE" }));
  });
});
