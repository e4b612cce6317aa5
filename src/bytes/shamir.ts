/** Shamir's secret sharing, byte by byte over GF(256), with a digest that shows wrong shares (SLIP-0039, "Sharing a secret"). */
import { createHmac, timingSafeEqual } from "node:crypto";
import { concat } from "./bytes.ts";
import { inverse, multiply } from "./gf256.ts";

/** A value of the polynomials: at `x`, one byte for each byte of the secret. */
export interface Point {
  readonly x: number;
  readonly y: Uint8Array;
}

/** @returns so many random bytes, the caller's own */
export type RandomBytes = (length: number) => Promise<Uint8Array>;

/** Most shares there can be: an index has 4 bits. */
export const MOST_SHARES = 16;

const SECRET_X = 255;
const DIGEST_X = 254;
const DIGEST_BYTES = 4;

/**
 * @param secret at least 16 bytes; neither kept nor changed
 * @param threshold 1 to `count`: so many shares are needed
 * @param count 1 to 16
 * @returns the shares at x = 0, 1, …, as long as the secret, each an array of its own
 */
export async function splitSecret(
  secret: Uint8Array,
  threshold: number,
  count: number,
  random: RandomBytes,
): Promise<Uint8Array[]> {
  // One share that is enough alone is the secret itself.
  if (threshold === 1) return Array.from({ length: count }, () => new Uint8Array(secret));
  const chosen: Point[] = [];
  for (let x = 0; x < threshold - 2; x++) chosen.push({ x, y: await random(secret.length) });
  const salt = await random(secret.length - DIGEST_BYTES);
  const digest = concat(digestOf(secret, salt), salt);
  salt.fill(0);
  const base = [...chosen, { x: DIGEST_X, y: digest }, { x: SECRET_X, y: secret }];
  const shares = Array.from({ length: count }, (_, x) => chosen[x]?.y ?? interpolate(base, x));
  digest.fill(0);
  return shares;
}

/**
 * @param points exactly as many as the threshold, equally long, at different x
 * @returns the secret, a new array; undefined when they do not belong together
 */
export function recoverSecret(points: readonly Point[]): Uint8Array | undefined {
  const [only] = points;
  if (only === undefined) return undefined;
  if (points.length === 1) return new Uint8Array(only.y);
  const secret = interpolate(points, SECRET_X);
  const digest = interpolate(points, DIGEST_X);
  const right = timingSafeEqual(digest.subarray(0, DIGEST_BYTES), digestOf(secret, digest.subarray(DIGEST_BYTES)));
  digest.fill(0);
  if (right) return secret;
  secret.fill(0);
  return undefined;
}

function digestOf(secret: Uint8Array, salt: Uint8Array): Uint8Array {
  return createHmac("sha256", salt).update(secret).digest().subarray(0, DIGEST_BYTES);
}

/** Lagrange: the value at `x` of the polynomial of least degree through the points. */
function interpolate(points: readonly Point[], x: number): Uint8Array {
  const result = new Uint8Array(points[0]?.y.length ?? 0);
  for (const point of points) {
    let weight = 1;
    for (const other of points) {
      if (other !== point) weight = multiply(weight, multiply(x ^ other.x, inverse(point.x ^ other.x)));
    }
    for (let i = 0; i < result.length; i++) result[i] = (result[i] ?? 0) ^ multiply(point.y[i] ?? 0, weight);
  }
  return result;
}
