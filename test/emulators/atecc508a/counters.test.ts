import { describe, expect, test } from "vitest";
import { equal } from "../../../src/bytes/bytes.ts";
import {
  COUNTER_MAX,
  decodeCounter,
  encodeCounter,
  incrementCounter,
  readCounter,
} from "../../../src/emulators/atecc508a/counters.ts";
import { memoryInRam, memoryOver } from "../../../src/emulators/atecc508a/memory.ts";
import { bench, hex, imageOf } from "./lab.ts";

/** Values around every kind of carry, and some others. */
const values = [
  ...Array.from({ length: 70 }, (_, v) => v),
  ...[255, 256, 4095, 65535, 65536].flatMap((n) => [-2, -1, 0, 1].map((d) => 32 * n + d)),
  ...[255, 256, 4095, 65534].flatMap((n) => [-2, -1, 0, 1].map((d) => 32 * n + 16 + d)),
].filter((v) => v >= 0 && v < COUNTER_MAX);

describe("coding", () => {
  test.each([
    [0, "ffffffff00000000"],
    [1, "7fffffff00000000"],
    [15, "0001ffff00000000"],
    [16, "0000ffff00000000"],
    [17, "00007fff00000000"],
    [31, "0000000100000000"],
    [32, "ffff000000010000"],
    [48, "0000ffff00010001"],
    [2097151, "00000001ffffffff"],
  ])("%i", (value, bytes) => {
    expect(hex(encodeCounter(value))).toBe(bytes);
    expect(decodeCounter(encodeCounter(value))).toBe(value);
  });
});

/** Every mix of the old and new bytes of one word; the word before it is new, that after it old. */
function mixes(old: Uint8Array, next: Uint8Array, word: 0 | 1): Uint8Array[] {
  const all: Uint8Array[] = [];
  for (let mask = 0; mask < 16; mask++) {
    const torn = old.slice();
    if (word === 1) torn.set(next.subarray(0, 4));
    for (let i = 0; i < 4; i++) if (mask & (1 << i)) torn[4 * word + i] = next[4 * word + i] ?? 0;
    all.push(torn);
  }
  return all;
}

describe("loss of power in the middle of an increment", () => {
  test("for every value and every mix of bytes the counter is v or v+1", () => {
    let wrong = 0;
    let carries = 0;
    let old = encodeCounter(0);
    for (let v = 0; v < COUNTER_MAX; v++) {
      const next = encodeCounter(v + 1);
      if (decodeCounter(old) !== v) wrong++;
      let changed = 0;
      for (let i = 0; i < 8; i++) if (old[i] !== next[i]) changed++;
      // A single byte is old or new, and both are looked at above.
      if (changed !== 1) {
        carries++;
        for (const word of [0, 1] as const) {
          for (const torn of mixes(old, next, word)) {
            const value = decodeCounter(torn);
            if (value !== v && value !== v + 1) wrong++;
          }
        }
      }
      old = next;
    }
    expect(decodeCounter(old)).toBe(COUNTER_MAX);
    // Every 16th increment, but the first of them, which A makes alone.
    expect(carries).toBe(131_071 - 1);
    expect(wrong).toBe(0);
  });

  /** Power fails at the n-th word of a counter, which becomes the mix that `mask` says. */
  function failing(image: Uint8Array, at: number, mask: number) {
    let words = 0;
    return memoryOver("508a", image, (offset, word) => {
      if (words++ !== at) return;
      for (let i = 0; i < 4; i++) if (mask & (1 << i)) image[offset + i] = word[i] ?? 0;
      throw new Error("power");
    });
  }

  test("torn again and again, it never goes back and never skips", () => {
    const wrong: unknown[] = [];
    for (const start of values) {
      for (let mask = 0; mask < 16; mask++) {
        for (let second = 0; second < 16; second += 3) {
          const image = new Uint8Array(1400);
          image.set(encodeCounter(start), 52);
          let least = start;
          for (const [at, tear] of [
            [mask % 2, mask],
            [0, second],
            [1, mask],
            [2, second],
          ] as const) {
            const memory = failing(image, at, tear);
            try {
              least = incrementCounter(memory, 0) ?? least;
            } catch {
              // What was read once must not be taken back.
            }
            const value = readCounter(memory, 0);
            if (value < least || value > Math.min(start + 4, COUNTER_MAX)) wrong.push([start, mask, second, value]);
            least = value;
          }
          const memory = memoryOver("508a", image);
          const next = incrementCounter(memory, 0);
          const whole = equal(image.subarray(52, 60), encodeCounter(next ?? COUNTER_MAX));
          if ((least < COUNTER_MAX && next !== least + 1) || !whole) wrong.push([start, mask, second, next]);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("Counter", () => {
  test("both count apart; the answer is little-endian", () => {
    const { command } = bench();
    for (let v = 1; v <= 300; v++) {
      const answer = command(0x24, 1, 1);
      expect(new DataView(answer.buffer, answer.byteOffset).getUint32(0, true)).toBe(v);
    }
    expect(hex(command(0x24, 0, 1))).toBe("2c010000");
    expect(hex(command(0x24, 0, 0))).toBe("00000000");
  });

  test("reads while open, does not count then", () => {
    const { command, status } = bench({ stage: "open" });
    expect(hex(command(0x24, 0, 0))).toBe("00000000");
    expect(status(0x24, 1, 0)).toBe(0x0f);
  });

  test("ends at 2097151", () => {
    const image = imageOf({});
    image.config.set(encodeCounter(COUNTER_MAX - 1), 52);
    const memory = memoryInRam("508a", image);
    const { command, status } = bench({
      config: Object.fromEntries([...memory.config.slice(52, 60)].map((b, i) => [52 + i, b])),
    });
    expect(hex(command(0x24, 1, 0))).toBe("ffff1f00");
    expect(status(0x24, 1, 0)).toBe(0x0f);
    expect(hex(command(0x24, 0, 0))).toBe("ffff1f00");
  });

  test("whatever the bytes, the value is in range", () => {
    const wrong: string[] = [];
    for (let seed = 0; seed < 5000; seed++) {
      const bytes = Uint8Array.from({ length: 8 }, (_, i) => (seed * 2654435761 * (i + 3)) >>> 13);
      const value = decodeCounter(bytes);
      if (!(value >= 0 && value <= COUNTER_MAX && Number.isInteger(value))) wrong.push(hex(bytes));
    }
    expect(wrong).toEqual([]);
  });
});
