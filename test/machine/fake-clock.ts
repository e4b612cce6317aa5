import type { Clock } from "../../src/machine/clock.ts";

/** A clock that stands still except when somebody sleeps, or when the test pushes it. */
export class FakeClock implements Clock {
  #now: number;
  /** Every sleep that was asked for, in milliseconds. */
  readonly sleeps: number[] = [];

  constructor(now = 0) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  sleep(milliseconds: number): void {
    this.sleeps.push(milliseconds);
    this.advance(Math.max(0, milliseconds));
  }

  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}
