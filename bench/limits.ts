/**
 * What an ATECC508A on a 100 kHz bus can do at the most: bus time of request and answer, and the execution time of the
 * data sheet. 9 bits a byte, 2 more a transaction; the request has the address and the word address in front, the
 * answer is read in one transaction and has the address in front.
 */
const BITS_PER_MILLISECOND = 100;

export interface Cost {
  /** bytes of the packet, count to CRC */
  readonly request: number;
  readonly answer: number;
  /** milliseconds, typical */
  readonly execution: number;
}

export const COSTS = {
  Random: { request: 7, answer: 35, execution: 1 },
  "Nonce (fixed)": { request: 39, answer: 4, execution: 0.1 },
  Sign: { request: 7, answer: 67, execution: 42 },
  ECDH: { request: 71, answer: 35, execution: 38 },
} as const satisfies Record<string, Cost>;

/** @returns the least milliseconds the commands can take one after the other */
export function leastMilliseconds(...names: readonly (keyof typeof COSTS)[]): number {
  let sum = 0;
  for (const { request, answer, execution } of names.map((name) => COSTS[name])) {
    const bits = 9 * (request + 2) + 2 + (9 * (answer + 1) + 2);
    sum += bits / BITS_PER_MILLISECOND + execution;
  }
  return sum;
}
