import { createHash, randomBytes } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { concat, toHex, xor } from "../../src/bytes/bytes.ts";
import {
  createHealthTests,
  PROPORTION_CUTOFF,
  proportionCutoff,
  REPETITION_CUTOFF,
  repetitionCutoff,
} from "../../src/vault/health-tests.ts";
import { createRandom, type RandomOptions } from "../../src/vault/random.ts";
import { suspicious } from "./statistics.ts";

const good = (length: number) => new Uint8Array(randomBytes(length));
const rootOf = (give: (length: number) => Uint8Array | Promise<Uint8Array>) => ({
  random: async (length: number) => give(length),
});
/** A kernel everybody knows. */
const known: RandomOptions = { kernel: (bytes) => void bytes.fill(0) };

/** Reproducible bytes that look random. */
function stream(name: string): (length: number) => Uint8Array {
  let counter = 0;
  return (length) => {
    const blocks = Array.from({ length: Math.ceil(length / 32) }, () =>
      createHash("sha256").update(`${name} ${counter++}`).digest(),
    );
    return concat(...blocks).slice(0, length);
  };
}

describe("random bytes", () => {
  it("are root and kernel mixed, and say so", async () => {
    const random = createRandom(rootOf(good));
    const first = await random.fill(1000);
    expect(first.length).toBe(1000);
    expect(random.describe()).toEqual({
      source: "root+kernel",
      failure: undefined,
      final: false,
      bytesFromRoot: 1024,
      seeds: 1,
    });
    expect(toHex(await random.fill(1000))).not.toBe(toHex(first));
  });

  it("are the kernel's where there is no root", async () => {
    const random = createRandom(undefined, known);
    expect(await random.fill(5)).toEqual(new Uint8Array(5));
    expect(random.describe()).toMatchObject({ source: "kernel", failure: undefined });
  });

  it("hide what the kernel gave as long as the root is unknown, and what the root gave as long as the kernel is", async () => {
    const fromRoot = await createRandom(rootOf(stream("root")), known).fill(64);
    expect(fromRoot).not.toEqual(new Uint8Array(64));
    // The same root: the difference of two outputs is the difference of the kernels.
    const other = await createRandom(rootOf(stream("root")), {
      kernel: (bytes) => void bytes.set(stream("kernel")(bytes.length)),
    }).fill(64);
    expect(xor(fromRoot, other)).toEqual(stream("kernel")(64));
    const anotherRoot = await createRandom(rootOf(stream("another")), known).fill(64);
    expect(toHex(anotherRoot)).not.toBe(toHex(fromRoot));
  });

  it("do not repeat with a kernel that does, and do not tell the pool that comes after", async () => {
    const random = createRandom(rootOf(stream("root")), known);
    const outputs = new Set<string>();
    for (let i = 0; i < 100; i++) outputs.add(toHex(await random.fill(32)));
    expect(outputs.size).toBe(100);
  });

  it("pass every statistical check: a megabyte with a known kernel, with a known root, and with neither", async () => {
    const kernels: RandomOptions[] = [known, {}];
    for (const options of kernels) {
      expect(suspicious(await createRandom(rootOf(stream("root")), options).fill(2 ** 20))).toEqual([]);
    }
    expect(suspicious(await createRandom(undefined).fill(2 ** 20))).toEqual([]);
  });

  it("are refused in numbers nobody needs", async () => {
    const random = createRandom(undefined);
    for (const length of [-1, 0.5, 2 ** 20 + 1, Number.NaN]) {
      await expect(random.fill(length)).rejects.toMatchObject({ code: "USAGE" });
    }
    expect(await random.fill(0)).toEqual(new Uint8Array(0));
  });
});

describe("the statistical checks find", () => {
  const sample = good(2 ** 20);
  it.each([
    ["a bias of half a percent", sample.map((byte) => (Math.random() < 0.08 ? byte | 0x10 : byte)), "monobit"],
    ["a byte that is missing", sample.map((byte) => (byte === 77 ? 78 : byte)), "bytes"],
    ["a counter", sample.map((_, index) => index), "serial"],
    ["a period", sample.map((_, index) => sample[index % 512]!), "autocorrelation 512 bytes"],
    ["bits that cling together", sample.map((byte) => (byte & (byte >> 1)) ^ (byte << 7)), "number of runs"],
  ])("%s", (_, bytes, check) => {
    expect(suspicious(bytes).map((line) => line.split(":")[0])).toContain(check);
  });

  it("nothing in a good sample", () => {
    expect(suspicious(sample)).toEqual([]);
  });
});

describe("a root that fails", () => {
  const reseeding: RandomOptions = { reseedBytes: 1 };

  /** Asks until the source is as expected. */
  async function until(random: ReturnType<typeof createRandom>, source: string): Promise<void> {
    await vi.waitFor(
      async () => {
        await random.fill(32);
        expect(random.describe().source).toBe(source);
      },
      { timeout: 20_000, interval: 1 },
    );
  }

  it.each([
    ["is stuck from the start", (length: number) => new Uint8Array(length).fill(0x5a)],
    ["gives only few different bytes", (length: number) => good(length).map((byte) => byte & 0x11)],
    ["prefers one byte", (length: number) => good(length).map((byte) => (byte < 70 ? 0 : byte))],
    ["gives mostly ones", (length: number) => good(length).map((byte) => byte | good(1)[0]! | good(1)[0]!)],
    ["gives too little", (length: number) => good(length - 1)],
    ["gives nothing", () => new Uint8Array(0)],
  ])("because it %s is never used, and reported once", async (_, give) => {
    const onFailure = vi.fn();
    const random = createRandom(rootOf(give), { ...known, onFailure });
    expect(await random.fill(32)).toEqual(new Uint8Array(32)); // the kernel's alone
    await random.fill(32);
    expect(onFailure).toHaveBeenCalledTimes(1);
    expect(onFailure).toHaveBeenCalledWith(expect.any(String), true);
    expect(random.describe()).toMatchObject({ source: "kernel", final: true, seeds: 0 });
  });

  it("by getting stuck later is found while it runs, and is not used any more", async () => {
    let asked = 0;
    const onFailure = vi.fn();
    const source = rootOf((length) => (asked++ < 3 ? good(length) : new Uint8Array(length).fill(1)));
    const random = createRandom(source, { ...known, ...reseeding, onFailure });
    expect(await random.fill(32)).not.toEqual(new Uint8Array(32));
    await until(random, "kernel");
    expect(onFailure).toHaveBeenCalledTimes(1);
    expect(random.describe()).toMatchObject({ final: true, failure: expect.stringContaining("in a row") });
    const before = asked;
    expect(await random.fill(32)).toEqual(new Uint8Array(32));
    expect(asked).toBe(before);
  });

  it("by dying is replaced by the kernel, reported once, and comes back when it does", async () => {
    let time = 0;
    let alive = true;
    const onFailure = vi.fn();
    const source = rootOf((length) => {
      if (!alive) throw new Error("gone");
      return good(length);
    });
    const random = createRandom(source, { ...reseeding, onFailure, now: () => time, retryMilliseconds: 1000 });
    await random.fill(32);
    expect(random.describe().source).toBe("root+kernel");
    alive = false;
    await until(random, "kernel");
    time += 1500;
    await random.fill(32);
    await random.fill(32);
    expect(onFailure.mock.calls).toEqual([["it does not answer", false]]);
    alive = true;
    time += 1500;
    await until(random, "root+kernel");
    expect(random.describe()).toMatchObject({ failure: undefined, final: false });
  });

  it("by not answering is waited for once, for a while only", async () => {
    const onFailure = vi.fn();
    const options = { ...known, firstWaitMilliseconds: 50, answerMilliseconds: 300, onFailure };
    const random = createRandom({ random: () => new Promise(() => {}) }, options);
    expect(await random.fill(32)).toEqual(new Uint8Array(32));
    expect(onFailure).not.toHaveBeenCalled();
    await vi.waitFor(() => expect(onFailure).toHaveBeenCalledWith("it does not answer", false), { timeout: 20_000 });
  });

  it("and is only slow contributes as soon as it has answered", async () => {
    const answer = Promise.withResolvers<Uint8Array>();
    const random = createRandom({ random: () => answer.promise }, { ...known, firstWaitMilliseconds: 20 });
    expect(await random.fill(32)).toEqual(new Uint8Array(32));
    answer.resolve(good(1024));
    await until(random, "root+kernel");
    expect(await random.fill(32)).not.toEqual(new Uint8Array(32));
  });
});

it("the pool is seeded again by bytes and by time, in the background", async () => {
  let time = 0;
  const asked: number[] = [];
  const source = rootOf((length) => {
    asked.push(length);
    return good(length);
  });
  const random = createRandom(source, { reseedBytes: 1000, reseedMilliseconds: 5000, now: () => time });
  await random.fill(999);
  expect(asked).toEqual([1024]);
  await random.fill(1);
  await vi.waitFor(() => expect(random.describe().seeds).toBe(2), { timeout: 20_000 });
  time += 5000;
  await random.fill(1);
  await vi.waitFor(() => expect(random.describe().seeds).toBe(3), { timeout: 20_000 });
  await random.fill(1);
  expect(asked).toEqual([1024, 64, 64]);
});

describe("the health tests of SP 800-90B, 4.4", () => {
  it("have the cutoffs of their formulas", () => {
    expect([1, 2, 4, 8].map(repetitionCutoff)).toEqual([31, 16, 9, 5]);
    // Computed with exact fractions; 325 is also what other implementations have for one bit.
    expect([1, 2, 4, 8].map((bits) => proportionCutoff(bits, 512))).toEqual([325, 190, 71, 16]);
  });

  it("let a good source of ten megabytes through", () => {
    const tests = createHealthTests();
    for (let i = 0; i < 10; i++) expect(tests.check(good(2 ** 20))).toBeUndefined();
  });

  it("count over calls, to the byte", () => {
    const tests = createHealthTests();
    for (let i = 1; i < REPETITION_CUTOFF; i++) expect(tests.check(Uint8Array.of(9))).toBeUndefined();
    expect(tests.check(Uint8Array.of(9))).toContain("in a row");
    const spread = Uint8Array.from({ length: 2 * PROPORTION_CUTOFF }, (_, index) => (index % 2 === 0 ? 0 : index));
    expect(createHealthTests().check(spread.subarray(0, 2 * PROPORTION_CUTOFF - 2))).toBeUndefined();
    expect(createHealthTests().check(spread)).toContain(`${PROPORTION_CUTOFF} times`);
  });
});
