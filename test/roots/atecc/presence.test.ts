import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blankConfig } from "../../../src/emulators/atecc508a/blank.ts";
import type { I2cBus } from "../../../src/machine/i2c-bus.ts";
import { FACTORY_ADDRESSES, lookForChips } from "../../../src/roots/atecc/presence.ts";
import { ADDRESS, laboratory } from "./in-process.ts";

/** A device with a register pointer, as EEPROMs and clocks have one: it moves with every byte. */
function stranger(memory: Uint8Array) {
  const seen = { written: [] as number[], read: 0 };
  let pointer = 0;
  return {
    seen,
    write(bytes: Uint8Array): boolean {
      seen.written.push(...bytes);
      pointer = bytes[0] ?? pointer;
      return true;
    },
    read(length: number): Uint8Array {
      seen.read += length;
      return Uint8Array.from({ length }, () => memory[pointer++ % memory.length] ?? 0);
    },
  };
}

/** A chip at another address, which is bits 7:1 of byte 16 of its configuration. */
function chipAt(address: number) {
  const config = blankConfig("508a");
  config[16] = address << 1;
  return { address, config };
}

/** Puts devices of others on the bus beside a chip. Nobody listens to the general call but the chip. */
function shared(bus: I2cBus, others: ReadonlyMap<number, ReturnType<typeof stranger>>): I2cBus {
  return {
    write: (address, bytes) => others.get(address)?.write(bytes) ?? bus.write(address, bytes),
    read: (address, length) => others.get(address)?.read(length) ?? bus.read(address, length),
    close: () => bus.close(),
  };
}

const who = (found: ReturnType<typeof lookForChips>) => found.map((one) => one.who);

describe("looking for secure elements on a bus", () => {
  it.each([{ model: "508a" as const }, { model: "608a" as const, timing: "maximum" as const }, chipAt(0x35)])(
    "finds %o, and puts it back to sleep",
    (options) => {
      const { bus, clock, transactions } = laboratory(options);
      const { address = ADDRESS } = options as { address?: number };
      expect(who(lookForChips(bus, clock, FACTORY_ADDRESSES))).toEqual(
        FACTORY_ADDRESSES.map((one) => (one === address ? "chip" : "nobody")),
      );
      expect(bus.read(address, 4)).toBeUndefined(); // it sleeps
      expect(
        transactions.filter((one) => one.kind === "write" && one.acknowledged).map((one) => [...one.bytes]),
      ).toEqual([[0x01]]);
    },
  );

  it("finds a chip that somebody left awake, its answer read", () => {
    const { bus, clock } = laboratory();
    bus.write(0, Uint8Array.of(1));
    clock.sleep(2);
    expect([...(bus.read(ADDRESS, 4) ?? [])]).toEqual([0x04, 0x11, 0x33, 0x43]);
    expect(who(lookForChips(bus, clock, [ADDRESS]))).toEqual(["chip"]);
  });

  it("asks nobody but who may be one: the devices beside it see not one byte", () => {
    const { bus, clock, transactions } = laboratory();
    const others = new Map([0x50, 0x51, 0x68, 0x20, 0x6f].map((address) => [address, stranger(new Uint8Array(256))]));
    expect(who(lookForChips(shared(bus, others), clock, FACTORY_ADDRESSES))).toContain("chip");
    for (const { seen } of others.values()) expect(seen).toEqual({ written: [], read: 0 });
    const addressed = new Set(transactions.map(({ address }) => address));
    expect([...addressed].sort()).toEqual([0, ...FACTORY_ADDRESSES].sort());
  });

  it("reads one byte from a stranger at such an address, two when it could be a chip that is awake; writes none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 16 }), (memory) => {
        const { bus, clock } = laboratory(chipAt(0x36));
        const other = stranger(memory);
        const found = lookForChips(shared(bus, new Map([[ADDRESS, other]])), clock, [ADDRESS, 0x36]);
        expect(who(found)).toEqual(["stranger", "chip"]);
        expect(other.seen.written).toEqual([]);
        expect(other.seen.read).toBeLessThanOrEqual(memory[0] === 0xff || memory[0] === 4 ? 5 : 1);
      }),
    );
  });

  it("believes only the whole answer, with its CRC", () => {
    const { clock } = laboratory();
    for (const answer of [
      [4, 0x11, 0x33, 0x44],
      [4, 0x00, 0x03, 0x40],
      [4, 4, 4, 4],
    ]) {
      const other = stranger(Uint8Array.from(answer));
      const bus = shared({ write: () => false, read: () => undefined, close() {} }, new Map([[ADDRESS, other]]));
      expect(who(lookForChips(bus, clock, [ADDRESS]))).toEqual(["stranger"]);
      expect(other.seen.written).toEqual([]);
    }
  });
});
