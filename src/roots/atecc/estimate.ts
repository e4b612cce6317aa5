/**
 * When an answer is worth asking for. It starts with the data sheet's typical time and follows the chip at hand: a
 * question that is answered at once moves the next one earlier, by larger steps the longer that goes on; one that comes
 * too early sets it to the time seen. So a real chip is asked within a few per cent of its own time, and an emulator
 * that needs no time is soon not waited for.
 */
export class Estimate {
  #milliseconds: number;
  #early = 0;

  /** @param typical milliseconds */
  constructor(typical: number) {
    this.#milliseconds = typical;
  }

  /** Milliseconds to wait before the first question. */
  get milliseconds(): number {
    return this.#milliseconds;
  }

  /** The first question was answered: the chip may have been ready for some time. */
  answeredAtOnce(): void {
    this.#milliseconds *= STEPS[Math.min(this.#early, STEPS.length - 1)] ?? 1;
    if (this.#milliseconds < NOT_WORTH_WAITING) this.#milliseconds = 0;
    this.#early += 1;
  }

  /** The chip was still busy then. @param milliseconds after which it did answer */
  answeredAfter(milliseconds: number): void {
    this.#milliseconds = milliseconds;
    this.#early = 0;
  }
}

const STEPS = [0.98, 0.95, 0.8, 0.5];
const NOT_WORTH_WAITING = 0.05;
