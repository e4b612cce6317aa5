/**
 * Statistical checks of random bytes: those of FIPS 140-2, 4.9.1 (monobit, poker, runs) and of SP 800-22 (serial,
 * autocorrelation) for a long sample, and chi-square over bytes. Each answers how many standard deviations the sample is
 * from what is expected; the least likely of them all is beyond {@link MOST_DEVIATION} in one good sample of some
 * millions (a normal distribution is beyond 6 with a probability of 2e-9, and there are about 60 figures).
 */
export const MOST_DEVIATION = 6;

export function deviations(bytes: Uint8Array): Record<string, number> {
  const bits = bytes.length * 8;
  const ones = bytes.reduce((sum, byte) => sum + ONES[byte]!, 0);
  const result: Record<string, number> = {
    monobit: normal(ones, bits / 2, bits / 4),
    bytes: chiSquare(countsOf(bytes, 256), 255),
    poker: chiSquare(nibbles(bytes), 15),
    serial: chiSquare(pairs(bytes), 65_535),
    ...runs(bytes),
  };
  for (const lag of [1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 256, 512, 2048]) {
    // Bits that differ from those `lag` bits, or bytes of them, further on.
    result[`autocorrelation ${lag} bits`] = autocorrelation(bytes, lag);
    result[`autocorrelation ${lag} bytes`] = autocorrelation(bytes, lag * 8);
  }
  return result;
}

/** @returns names and figures of the checks that a sample does not pass */
export function suspicious(bytes: Uint8Array): string[] {
  return Object.entries(deviations(bytes))
    .filter(([, deviation]) => !(Math.abs(deviation) <= MOST_DEVIATION))
    .map(([name, deviation]) => `${name}: ${deviation.toFixed(1)}`);
}

const ONES = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length);

const normal = (found: number, mean: number, variance: number) => (found - mean) / Math.sqrt(variance);

/** Of equally likely cells; as a normal deviate (Wilson and Hilferty). */
function chiSquare(counts: ArrayLike<number> & Iterable<number>, freedom: number): number {
  let total = 0;
  for (const count of counts) total += count;
  const expected = total / counts.length;
  let sum = 0;
  for (const count of counts) sum += (count - expected) ** 2 / expected;
  const spread = 2 / (9 * freedom);
  return (Math.cbrt(sum / freedom) - (1 - spread)) / Math.sqrt(spread);
}

function countsOf(values: Uint8Array, cells: number): Float64Array {
  const counts = new Float64Array(cells);
  for (const value of values) counts[value]!++;
  return counts;
}

/** Pairs of bytes that do not overlap. */
function pairs(bytes: Uint8Array): Float64Array {
  const counts = new Float64Array(65_536);
  for (let i = 0; i + 1 < bytes.length; i += 2) counts[(bytes[i]! << 8) | bytes[i + 1]!]!++;
  return counts;
}

const bit = (bytes: Uint8Array, index: number) => (bytes[index >> 3]! >> (7 - (index & 7))) & 1;

function autocorrelation(bytes: Uint8Array, lag: number): number {
  const count = bytes.length * 8 - lag;
  let differ = 0;
  if (lag % 8 === 0) {
    for (let i = 0; i < count / 8; i++) differ += ONES[bytes[i]! ^ bytes[i + lag / 8]!]!;
  } else {
    for (let i = 0; i < count; i++) differ += bit(bytes, i) ^ bit(bytes, i + lag);
  }
  return normal(differ, count / 2, count / 4);
}

/** Runs of equal bits of 1 to 11, and longer ones; of zeros and of ones. A run is k long with a probability of 2^-k. */
function runs(bytes: Uint8Array): Record<string, number> {
  const longest = 12;
  const counts = [new Float64Array(longest + 1), new Float64Array(longest + 1)];
  let [length, value, total] = [0, bit(bytes, 0), 0];
  for (let i = 0; i < bytes.length * 8; i++) {
    const next = bit(bytes, i);
    if (next === value) {
      length++;
      continue;
    }
    counts[value]![Math.min(length, longest)]!++;
    total++;
    [length, value] = [1, next];
  }
  const result: Record<string, number> = { "number of runs": normal(total, bytes.length * 4, bytes.length * 2) };
  for (const which of [0, 1]) {
    for (let k = 1; k <= longest; k++) {
      const p = k === longest ? 2 ** -(longest - 1) : 2 ** -k;
      result[`runs of ${k} ${which ? "ones" : "zeros"}`] = normal(
        counts[which]![k]!,
        (total / 2) * p,
        (total / 2) * p * (1 - p),
      );
    }
  }
  return result;
}

function nibbles(bytes: Uint8Array): Float64Array {
  const counts = new Float64Array(16);
  for (const byte of bytes) {
    counts[byte >> 4]!++;
    counts[byte & 15]!++;
  }
  return counts;
}
