/**
 * What a passphrase does in SLIP-39: a Feistel cipher of four rounds whose round function is PBKDF2 (SLIP-0039, "Encryption
 * of the master secret"). The result is as long as what goes in, and every passphrase opens something: nobody can tell a
 * wrong one from a right one.
 */
import { pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import { concat, xor } from "../../../bytes/bytes.ts";

const ROUNDS = 4;
const LEAST_ITERATIONS = 10_000;
/** Ten million iterations: the most that somebody would wait for on a small machine. The format has 15. */
export const HIGHEST_EXPONENT = 10;

const stretch = promisify(pbkdf2);

export interface CipherKey {
  readonly passphrase: Uint8Array;
  /** Goes in front of the salt of each round. */
  readonly salt: Uint8Array;
  /** 0 to {@link HIGHEST_EXPONENT}: the work is 10000 * 2^exponent iterations, done in another thread. */
  readonly exponent: number;
}

/** @param plain an even number of bytes. @returns as many, a new array */
export async function encrypt(plain: Uint8Array, key: CipherKey): Promise<Uint8Array> {
  return feistel(plain, key, [0, 1, 2, 3]);
}

/** The reverse of {@link encrypt}. */
export async function decrypt(sealed: Uint8Array, key: CipherKey): Promise<Uint8Array> {
  return feistel(sealed, key, [3, 2, 1, 0]);
}

async function feistel(input: Uint8Array, key: CipherKey, rounds: readonly number[]): Promise<Uint8Array> {
  const half = input.length / 2;
  let left: Uint8Array = input.slice(0, half);
  let right: Uint8Array = input.slice(half);
  for (const round of rounds) {
    const password = concat(Uint8Array.of(round), key.passphrase);
    const salt = concat(key.salt, right);
    const iterations = (LEAST_ITERATIONS / ROUNDS) * 2 ** key.exponent;
    const mask = await stretch(password, salt, iterations, half, "sha256");
    const next = xor(left, mask);
    for (const bytes of [password, salt, mask, left]) bytes.fill(0);
    left = right;
    right = next;
  }
  const output = concat(right, left);
  left.fill(0);
  right.fill(0);
  return output;
}
