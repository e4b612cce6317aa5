/** The checksum of SLIP-39 shares: a Reed-Solomon code over GF(1024) that finds any three wrong words. */

/** SLIP-0039, "Checksum". */
const GENERATOR = [
  0x00e0e040, 0x01c1c080, 0x03838100, 0x07070200, 0x0e0e0009, 0x1c0c2412, 0x38086c24, 0x3090fc48, 0x21b1f890,
  0x03f3f120,
];
export const CHECKSUM_WORDS = 3;

/** @param customization ASCII, goes in front. @returns whether the last three words fit the others */
export function hasChecksum(customization: string, words: Uint16Array): boolean {
  return remainder(customization, words) === 1;
}

/** Sets the last three words so that they fit the others. */
export function setChecksum(customization: string, words: Uint16Array): void {
  const start = words.length - CHECKSUM_WORDS;
  words.fill(0, start);
  const checksum = remainder(customization, words) ^ 1;
  for (let i = 0; i < CHECKSUM_WORDS; i++) words[start + i] = (checksum >> (10 * (CHECKSUM_WORDS - 1 - i))) & 1023;
}

function remainder(customization: string, words: Uint16Array): number {
  let register = 1;
  for (const character of Buffer.from(customization)) register = shift(register, character);
  for (const word of words) register = shift(register, word);
  return register;
}

function shift(register: number, value: number): number {
  const top = register >> 20;
  let shifted = ((register & 0xfffff) << 10) ^ value;
  for (const [bit, term] of GENERATOR.entries()) shifted ^= -((top >> bit) & 1) & term;
  return shifted;
}
