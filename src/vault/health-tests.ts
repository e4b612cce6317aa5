/**
 * The continuous health tests of NIST SP 800-90B, 4.4, for a source of bytes.
 *
 * The claim is 4 bits of min-entropy a byte. The generators of the roots give out what a DRBG has conditioned, so they
 * are far better when they work; the tests are there for those that do not: a bus that is stuck, a chip that answers
 * the same, a source that lost its noise. A low claim costs no alarm: a good source fails the first test once in 2^64
 * bytes, the second never in practice.
 */

/** Bits of min-entropy a byte that is claimed, H. */
export const CLAIMED_MIN_ENTROPY = 4;
/** Samples of a window of the adaptive proportion test (4.4.2, for samples that are not bits). */
export const WINDOW = 512;
/** How likely a source that is exactly as good as claimed fails at one sample or window, alpha: 2^-30. */
const ALPHA_BITS = 30;

export interface HealthTests {
  /**
   * @param samples what the source gave, in order; all of it
   * @returns what is wrong, for a person; undefined when nothing is
   */
  check(samples: Uint8Array): string | undefined;
}

/** The cutoffs: 9 equal bytes in a row; 71 equal ones in a window. */
export const REPETITION_CUTOFF = repetitionCutoff(CLAIMED_MIN_ENTROPY);
export const PROPORTION_CUTOFF = proportionCutoff(CLAIMED_MIN_ENTROPY, WINDOW);

/** Both tests for one source, from its first byte on; they go on over the calls. */
export function createHealthTests(): HealthTests {
  let last = -1;
  let repetitions = 0;
  const counts = new Uint16Array(256);
  let position = 0;

  /** 4.4.1 */
  function repeats(sample: number): boolean {
    repetitions = sample === last ? repetitions + 1 : 1;
    last = sample;
    return repetitions >= REPETITION_CUTOFF;
  }

  /** 4.4.2, but for every value and not only the first of the window: that finds a bias in the first window already. */
  function prevails(sample: number): boolean {
    if (position === 0) counts.fill(0);
    position = (position + 1) % WINDOW;
    const count = (counts[sample] ?? 0) + 1;
    counts[sample] = count;
    return count >= PROPORTION_CUTOFF;
  }

  return {
    check(samples) {
      let failure: string | undefined;
      for (const sample of samples) {
        if (repeats(sample)) failure ??= `the same byte ${REPETITION_CUTOFF} times in a row`;
        if (prevails(sample)) failure ??= `one byte ${PROPORTION_CUTOFF} times in ${WINDOW}`;
      }
      return failure;
    },
  };
}

/** C = 1 + ceil(-log2 alpha / H). @param minEntropy bits a sample */
export function repetitionCutoff(minEntropy: number): number {
  return 1 + Math.ceil(ALPHA_BITS / minEntropy);
}

/**
 * C = 1 + CRITBINOM(W, 2^-H, 1 - alpha): one more than the least number that is exceeded with a probability of at most
 * alpha.
 *
 * @param minEntropy bits a sample
 */
export function proportionCutoff(minEntropy: number, window: number): number {
  const p = 2 ** -minEntropy;
  // The probability of exactly k, from the end where it is smallest; as a logarithm, for it begins near 2^-2048.
  let logarithm = window * Math.log(p);
  let tail = 0;
  for (let k = window; k > 0; k--) {
    tail += Math.exp(logarithm);
    if (tail > 2 ** -ALPHA_BITS) return 1 + k;
    logarithm += Math.log((k / (window - k + 1)) * ((1 - p) / p));
  }
  return 1;
}
