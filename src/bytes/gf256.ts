/**
 * Arithmetic in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4). Without tables and without branches, so that neither
 * the time nor the cache tells what was multiplied. Sums are xor.
 */

/** @param a 0 to 255. @param b 0 to 255 */
export function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = a;
  for (let bit = 0; bit < 8; bit++) {
    product ^= -((b >> bit) & 1) & shifted;
    shifted = ((shifted << 1) ^ (-(shifted >> 7) & 0x11b)) & 0xff;
  }
  return product;
}

/** @returns a^254, which is 1 / a; of 0 it is 0 */
export function inverse(a: number): number {
  let result = 1;
  let power = a;
  // 254 is all ones but the lowest bit.
  for (let bit = 1; bit < 8; bit++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}
