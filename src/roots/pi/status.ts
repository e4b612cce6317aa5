/** The status word of the key (raspberrypi/utils, rpifwcrypto.h). */

/** Locks, by the names that the firmware's documentation has for them. */
export const LOCKS = { READ: 1 << 8, GEN: 1 << 9, SIGN: 1 << 10, HMAC: 1 << 11, USAGE: 1 << 12 } as const;

export type LockName = keyof typeof LOCKS;

export const ALL_LOCKS = Object.keys(LOCKS) as readonly LockName[];

/** @returns names of the locks that are set */
export function locksIn(status: number): LockName[] {
  return ALL_LOCKS.filter((name) => (status & LOCKS[name]) !== 0);
}

export function bitsOf(locks: readonly LockName[]): number {
  return locks.reduce((bits, name) => bits | LOCKS[name], 0);
}

/** @returns whether firmware that was asked for more locks than READ has READ alone: it is from before June 2026 */
export function hasOneLockOnly(status: number): boolean {
  return locksIn(status).join() === "READ";
}
