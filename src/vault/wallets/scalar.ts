/**
 * Sums of 32-byte numbers for key derivation, on bytes and not on JavaScript's big integers: a big integer cannot be
 * zeroed, and its operations take a time that depends on its value. No branch and no index here depends on a number.
 */

const SIZE = 32;

/**
 * @param a big endian, 32 bytes, less than `order`. @param b likewise
 * @returns (a + b) mod order, big endian, a new array
 */
export function addModulo(a: Uint8Array, b: Uint8Array, order: Uint8Array): Uint8Array {
  const sum = new Uint8Array(SIZE);
  let carry = 0;
  for (let i = SIZE - 1; i >= 0; i--) {
    const digit = (a[i] ?? 0) + (b[i] ?? 0) + carry;
    sum[i] = digit;
    carry = digit >> 8;
  }
  const less = new Uint8Array(SIZE);
  const borrow = subtract(sum, order, less);
  // The sum is below the order when taking the order away borrows more than the sum carried.
  const keep = -(borrow & ~carry & 1) & 0xff;
  for (let i = 0; i < SIZE; i++) sum[i] = ((sum[i] ?? 0) & keep) | ((less[i] ?? 0) & ~keep);
  less.fill(0);
  return sum;
}

/** @returns whether 0 < number < order, both big endian of 32 bytes */
export function isScalar(number: Uint8Array, order: Uint8Array): boolean {
  return !isZero(number) && isBelow(number, order);
}

/** @returns whether number < order, both big endian of 32 bytes */
export function isBelow(number: Uint8Array, order: Uint8Array): boolean {
  const rest = new Uint8Array(SIZE);
  const borrow = subtract(number, order, rest);
  rest.fill(0);
  return borrow === 1;
}

export function isZero(number: Uint8Array): boolean {
  let bits = 0;
  for (const byte of number) bits |= byte;
  return bits === 0;
}

/**
 * @param a little endian, 32 bytes. @param b at most as long; multiplied by `factor` first
 * @returns (a + factor * b) mod 2^256, little endian, a new array
 */
export function addLittleEndian(a: Uint8Array, b: Uint8Array, factor = 1): Uint8Array {
  const sum = new Uint8Array(SIZE);
  let carry = 0;
  for (let i = 0; i < SIZE; i++) {
    const digit = (a[i] ?? 0) + factor * (b[i] ?? 0) + carry;
    sum[i] = digit;
    carry = digit >> 8;
  }
  return sum;
}

/** Writes a - b to `into`. @returns 1 when b is greater, else 0 */
function subtract(a: Uint8Array, b: Uint8Array, into: Uint8Array): number {
  let borrow = 0;
  for (let i = SIZE - 1; i >= 0; i--) {
    const digit = (a[i] ?? 0) - (b[i] ?? 0) - borrow;
    into[i] = digit;
    borrow = (digit >> 8) & 1;
  }
  return borrow;
}
