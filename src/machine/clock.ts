/** Time as drivers see it, so that a test can bring its own. */
export interface Clock {
  /** @returns milliseconds with a fraction, never going back; the zero is arbitrary */
  now(): number;

  /**
   * Blocks the calling thread. It never returns early: a chip's minimum waits rely on it.
   *
   * @param milliseconds 0 or less returns at once; fractions count
   */
  sleep(milliseconds: number): void;
}

/** How much of the end of a sleep is spent spinning: about what a wake-up of the scheduler is late by. */
const SPIN_MILLISECONDS = 0.15;

/**
 * The monotonic clock of the machine. `Atomics.wait` takes fractions of a millisecond, and ends 0.1 to 0.2 ms late on
 * an idle Linux machine (timer slack and scheduling), so it is asked for a little less and the rest is spun.
 *
 * @param options.spinMilliseconds length of the spun stretch; 0 leaves the processor free and sleeps a little longer
 */
export function systemClock(options: { spinMilliseconds?: number } = {}): Clock {
  const spin = options.spinMilliseconds ?? SPIN_MILLISECONDS;
  const never = new Int32Array(new SharedArrayBuffer(4));
  const now = () => performance.now();
  return {
    now,
    sleep(milliseconds) {
      const end = now() + milliseconds;
      for (let left = milliseconds; left > 0; left = end - now()) {
        if (left > spin) Atomics.wait(never, 0, 0, left - spin);
      }
    },
  };
}
