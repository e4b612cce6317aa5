/**
 * When an answer is worth asking for. It starts with the data sheet's typical time and closes in on the chip at hand:
 * each command tells a time that was too early, or one that was enough, and the next question is put between the two
 * until they are as good as equal. So a real chip is asked within a tenth of a millisecond of its own time, and an
 * emulator that needs no time is soon not waited for. Now and then an earlier question is tried again, because a warmer
 * or colder chip takes another time.
 */
export class Estimate {
  /** Milliseconds after which the chip was still busy. */
  #tooEarly = 0;
  /** Milliseconds after which it was ready. */
  #enough: number;
  #next: number;
  #settled = 0;

  /** @param typical milliseconds */
  constructor(typical: number) {
    this.#enough = typical;
    this.#next = typical;
  }

  /** Milliseconds to wait before the first question. */
  get milliseconds(): number {
    return this.#next;
  }

  /** The first question was answered: the chip may have been ready for some time. */
  answeredAtOnce(): void {
    this.#enough = this.#next;
    this.#choose();
  }

  /**
   * The chip was still busy at the first question.
   *
   * @param tooEarly milliseconds from the command to the last question without an answer
   * @param enough milliseconds to the one that was answered
   */
  answeredLater(tooEarly: number, enough: number): void {
    this.#tooEarly = tooEarly;
    this.#enough = enough;
    this.#choose();
  }

  #choose(): void {
    if (this.#enough - this.#tooEarly > CLOSE_ENOUGH) {
      this.#next = (this.#tooEarly + this.#enough) / 2;
      this.#settled = 0;
      return;
    }
    this.#next = this.#enough < NOT_WORTH_WAITING ? 0 : this.#enough;
    this.#settled += 1;
    if (this.#settled >= TRY_AGAIN_AFTER) this.#tooEarly *= 0.95;
  }
}

/** Milliseconds between the two bounds that make no difference. */
const CLOSE_ENOUGH = 0.03;
const NOT_WORTH_WAITING = 0.1;
/** Commands with a settled time before it is put to the test. */
const TRY_AGAIN_AFTER = 50;
