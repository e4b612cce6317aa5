import type { I2cBus } from "../../src/machine/i2c-bus.ts";
import type { FakeClock } from "../machine/fake-clock.ts";
import type { Prng } from "./prng.ts";

/** The chip's end of the bus. */
export interface Wired {
  write(address: number, bytes: Uint8Array): boolean;
  read(address: number, length: number): Uint8Array | undefined;
  powerCut(): void;
}

/** What can happen to one transaction. */
export const FAULTS = [
  "nack",
  "acknowledgement lost",
  "bits flipped",
  "word address flipped",
  "short read",
  "wake lost",
  "power cut before",
  "power cut after",
] as const;
export type Fault = (typeof FAULTS)[number];

/** How many of each were done. */
export type FaultCounts = Record<Fault, number>;

/**
 * A bus on which a share of the transactions goes wrong, and which takes the time a 100 kHz bus takes. Bits are flipped
 * one to three at a time, which a CRC-16 always notices; the word address, which no CRC covers, is also turned into each
 * of the others the chip knows.
 */
export class DisturbedBus implements I2cBus {
  readonly counts: FaultCounts = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as FaultCounts;
  transactions = 0;
  /** Share of transactions that go wrong, 0 to 1. */
  rate = 0;
  readonly #chip: Wired;
  readonly #clock: FakeClock;
  readonly #prng: Prng;

  constructor(chip: Wired, clock: FakeClock, prng: Prng) {
    this.#chip = chip;
    this.#clock = clock;
    this.#prng = prng;
  }

  write(address: number, bytes: Uint8Array): boolean {
    const fault = this.#fault();
    let sent = bytes;
    if (fault === "power cut before") this.#chip.powerCut();
    if (fault === "nack") return this.#took(1, false);
    if (fault === "wake lost" && address === 0) return this.#took(2, false);
    if (fault === "bits flipped") sent = this.#flip(bytes);
    if (fault === "word address flipped" && address !== 0) sent = this.#flipWordAddress(bytes);
    const acknowledged = this.#chip.write(address, sent);
    this.#took(acknowledged ? 1 + bytes.length : 1, true);
    if (fault === "power cut after") this.#chip.powerCut();
    return acknowledged && fault !== "acknowledgement lost";
  }

  read(address: number, length: number): Uint8Array | undefined {
    const fault = this.#fault();
    if (fault === "power cut before") this.#chip.powerCut();
    if (fault === "nack") {
      this.#took(1, false);
      return undefined;
    }
    const bytes = this.#chip.read(address, length);
    this.#took(bytes ? 1 + length : 1, true);
    if (fault === "power cut after") this.#chip.powerCut();
    if (bytes === undefined) return undefined;
    if (fault === "bits flipped") return this.#flip(bytes);
    if (fault === "short read") return bytes.subarray(0, this.#prng.below(length));
    return bytes;
  }

  close(): void {}

  #fault(): Fault | undefined {
    this.transactions += 1;
    if (!this.#prng.chance(this.rate)) return undefined;
    const fault = this.#prng.pick(FAULTS);
    this.counts[fault] += 1;
    return fault;
  }

  #flip(bytes: Uint8Array): Uint8Array {
    const flipped = bytes.slice();
    const chosen = new Set<number>();
    const wanted = Math.min(1 + this.#prng.below(3), bytes.length * 8);
    while (chosen.size < wanted) chosen.add(this.#prng.below(bytes.length * 8));
    for (const bit of chosen) flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return flipped;
  }

  #flipWordAddress(bytes: Uint8Array): Uint8Array {
    const flipped = bytes.slice();
    flipped[0] = this.#prng.pick([0, 1, 2, 3].filter((wordAddress) => wordAddress !== bytes[0]));
    return flipped;
  }

  /** 9 bits a byte and 2 for START and STOP, at 100 kHz. */
  #took(bytes: number, result: boolean): boolean {
    this.#clock.advance((bytes * 9 + 2) / 100);
    return result;
  }
}
