import { describe, expect, test } from "vitest";
import { type Bench, bench, KEY, REFUSED, SECRET, zeros } from "./lab.ts";

describe("uses of a LimitedUse slot", () => {
  const mac = (host: Bench, slot: number) => host.command(0x08, 0, slot, zeros(32)).length;

  test("508: slot 15 has 128, bit after bit from byte 68; others have no limit", () => {
    const slots = {
      14: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: SECRET },
      15: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: SECRET },
    };
    const host = bench({ slots });
    expect(mac(host, 14)).toBe(32);
    for (let use = 0; use < 128; use++) {
      const before = [...host.memory.config.slice(68, 84)];
      before[use >> 3]! &= ~(0x80 >> (use & 7));
      expect(mac(host, 15)).toBe(32);
      expect([...host.memory.config.slice(68, 84)]).toEqual(before);
    }
    expect(mac(host, 15)).toBe(1);
    expect(host.status(0x08, 0, 15, zeros(32))).toBe(REFUSED);
    expect(mac(host, 14)).toBe(32);
  });

  test("508: UpdateExtra mode 2 takes one; a refused use takes none", () => {
    const slots = { 15: { slotConfig: 0x20, keyConfig: KEY.SECRET | KEY.REQ_AUTH, content: SECRET } };
    const host = bench({ slots });
    expect(host.status(0x08, 0, 15, zeros(32))).toBe(REFUSED);
    expect(host.memory.config[68]).toBe(0xff);
    expect(host.status(0x20, 2, 15)).toBe(0);
    expect(host.memory.config[68]).toBe(0x7f);
    expect(host.status(0x20, 2, 14)).toBe(REFUSED);
    expect(bench({ stage: "open", slots }).status(0x20, 2, 15)).toBe(REFUSED);
    expect(bench({ slots: { 15: { keyConfig: KEY.SECRET } } }).status(0x20, 2, 15)).toBe(REFUSED);
  });

  const match = (value: number, copy = value) => {
    const content = zeros(8);
    new DataView(content.buffer).setUint32(0, value, true);
    new DataView(content.buffer).setUint32(4, copy, true);
    return { keyConfig: KEY.SECRET, content };
  };

  test("608: every use counts Counter0, up to CountMatch", () => {
    const slots = { 3: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: SECRET }, 10: match(32) };
    const host = bench({ model: "608a", slots, config: { 18: 0xa1 } });
    for (let use = 1; use <= 32; use++) {
      expect(mac(host, 3)).toBe(32);
      expect(host.command(0x24, 0, 0)[0]).toBe(use);
    }
    expect(mac(host, 3)).toBe(1);
    expect(host.command(0x24, 0, 0)[0]).toBe(32);
  });

  test("608: without CountMatch the counter's end is the limit; a value that is not sound allows nothing", () => {
    const slot = { 3: { slotConfig: 0x20, keyConfig: KEY.SECRET, content: SECRET } };
    expect(mac(bench({ model: "608a", slots: slot }), 3)).toBe(32);
    for (const content of [match(33), match(64, 96)]) {
      const host = bench({ model: "608a", slots: { ...slot, 10: content }, config: { 18: 0xa1 } });
      expect(mac(host, 3)).toBe(1);
      expect(host.command(0x24, 0, 0)[0]).toBe(0);
    }
  });
});
