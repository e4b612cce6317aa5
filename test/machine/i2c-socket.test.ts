import { closeSync, linkSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import koffi from "koffi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { equal } from "../../src/bytes/bytes.ts";
import type { I2cBus } from "../../src/machine/i2c-bus.ts";
import { openI2cSocket } from "../../src/machine/i2c-socket.ts";
import { type Manner, startToyBus } from "./toy-bus.ts";

const gone = expect.objectContaining({ code: "ROOT_UNAVAILABLE" });

let directory: string;
let stop: (() => Promise<void>) | undefined;
let bus: I2cBus | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "thornkey-bus-"));
});

afterEach(async () => {
  bus?.close();
  await stop?.();
  bus = stop = undefined;
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

async function open(manner: Manner, timeoutMilliseconds?: number): Promise<I2cBus> {
  const path = join(directory, "chip.sock");
  stop = await startToyBus(path, manner);
  bus = openI2cSocket(path, timeoutMilliseconds === undefined ? {} : { timeoutMilliseconds });
  return bus;
}

describe("the bus of an emulated chip", () => {
  it.each<Manner>(["right", "one byte at a time"])("carries writes and reads of any length (%s)", async (manner) => {
    const bus = await open(manner);
    const most = manner === "right" ? 2000 : 20;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: most }), fc.nat(most), (bytes, length) => {
        expect(bus.write(0x60, bytes)).toBe(true);
        const wanted = new Uint8Array(length).fill(0xff);
        wanted.set(bytes.subarray(0, length));
        const got = bus.read(0x60, length);
        expect(got !== undefined && equal(got, wanted)).toBe(true);
      }),
      { numRuns: manner === "right" ? 300 : 10 },
    );
  });

  it("carries the longest transaction of the framing", async () => {
    const bus = await open("right");
    const bytes = new Uint8Array(0xffff).map((_, i) => i);
    expect(bus.write(0x60, bytes)).toBe(true);
    expect(equal(bus.read(0x60, 0xffff) ?? new Uint8Array(), bytes)).toBe(true);
    expect(() => bus.read(0x60, 0x10000)).toThrow(RangeError);
    expect(() => bus.write(0x60, new Uint8Array(0x10000))).toThrow(RangeError);
    expect(() => bus.write(0x80, bytes)).toThrow(RangeError);
    expect(bus.read(0x60, 2)).toEqual(Uint8Array.of(0, 1));
  });

  it("says when nothing acknowledges, and goes on", async () => {
    const bus = await open("right");
    expect(bus.write(0, Uint8Array.of(0))).toBe(false);
    expect(bus.read(0x35, 4)).toBeUndefined();
    expect(bus.write(0x60, Uint8Array.of(5))).toBe(true);
    expect(bus.read(0x60, 1)).toEqual(Uint8Array.of(5));
  });

  it("gives out bytes that later transactions leave alone", async () => {
    const bus = await open("right");
    bus.write(0x60, Uint8Array.of(1, 2, 3));
    const first = bus.read(0x60, 3);
    bus.write(0x60, Uint8Array.of(9, 9, 9));
    bus.read(0x60, 3);
    expect(first).toEqual(Uint8Array.of(1, 2, 3));
  });

  it("passes on fewer bytes when the emulator gives fewer", async () => {
    const bus = await open("short");
    bus.write(0x60, Uint8Array.of(1, 2, 3, 4));
    expect(bus.read(0x60, 4)).toEqual(Uint8Array.of(1, 2));
  });

  it.each<Manner>([
    "silent",
    "half an answer",
    "close on request",
    "close in the middle of the answer",
    "ack 2",
    "more than asked",
    "data after NACK",
    "more than announced",
  ])("is gone, and its descriptor closed, after a peer of the kind: %s", async (manner) => {
    const bus = await open(manner, 200);
    const before = readdirSync("/proc/self/fd").length;
    expect(() => bus.read(0x60, 4)).toThrow(gone);
    expect(readdirSync("/proc/self/fd").length).toBe(before - 1);
    expect(() => bus.read(0x60, 4)).toThrow(gone);
    expect(() => bus.write(0x60, Uint8Array.of(1))).toThrow(gone);
  });

  it("is gone when the emulator goes", async () => {
    const bus = await open("right");
    expect(bus.write(0x60, Uint8Array.of(1))).toBe(true);
    await stop?.();
    expect(() => bus.write(0x60, Uint8Array.of(1))).toThrow(gone);
  });

  it("is gone after close, which may be repeated", async () => {
    const bus = await open("right");
    bus.close();
    bus.close();
    expect(() => bus.read(0x60, 1)).toThrow(gone);
  });

  it("is not there without a socket, without a listener, or with an impossible path", async () => {
    const path = join(directory, "nobody.sock");
    const before = readdirSync("/proc/self/fd").length;
    expect(() => openI2cSocket(path)).toThrow(expect.objectContaining({ message: expect.stringContaining("ENOENT") }));
    const server = createServer().listen(path);
    await new Promise((resolve) => server.once("listening", resolve));
    // A listener that dies leaves its socket file behind. Node removes it on close, so it gets a second name.
    linkSync(path, join(directory, "dead.sock"));
    await new Promise((resolve) => server.close(resolve));
    expect(() => openI2cSocket(join(directory, "dead.sock"))).toThrow(
      expect.objectContaining({ code: "ROOT_UNAVAILABLE", message: expect.stringContaining("ECONNREFUSED") }),
    );
    for (const bad of ["", "a\0b", join(directory, "x".repeat(108))]) expect(() => openI2cSocket(bad)).toThrow(gone);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  it("gives up on a listener that accepts nobody", () => {
    const path = join(directory, "full.sock");
    const library = koffi.load(null);
    const address = Buffer.alloc(110);
    address.writeUInt16LE(1);
    address.write(path, 2);
    const listener = library.func("int socket(int domain, int type, int protocol)")(1, 1, 0);
    expect(library.func("int bind(int fd, const uint8_t *address, uint length)")(listener, address, 110)).toBe(0);
    expect(library.func("int listen(int fd, int backlog)")(listener, 0)).toBe(0);
    const waiting = openI2cSocket(path);
    try {
      expect(() => openI2cSocket(path, { timeoutMilliseconds: 100 })).toThrow(gone);
    } finally {
      waiting.close();
      closeSync(listener);
    }
  });
});
