/** `ssh-add -x`: a user's agent is locked with a passphrase, and shows nothing until it is unlocked. */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

export interface Locks {
  isLocked(uid: number): boolean;
  /** @param passphrase zeroed. @returns whether it is locked now; not if it was already */
  lock(uid: number, passphrase: Uint8Array): Promise<boolean>;
  /** @param passphrase zeroed. @returns whether it was the right one */
  unlock(uid: number, passphrase: Uint8Array): Promise<boolean>;
}

interface Lock {
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
  failures: number;
  /** One try after the other. */
  trying: Promise<unknown>;
}

/** Milliseconds: each failure makes the next answer later, as OpenSSH's agent does. */
const DELAY = { each: 100, most: 10_000 } as const;

export function createLocks(): Locks {
  const locks = new Map<number, Lock>();
  return {
    isLocked: (uid) => locks.has(uid),
    async lock(uid, passphrase) {
      const salt = new Uint8Array(randomBytes(16));
      const hash = await hashOf(passphrase, salt);
      if (locks.has(uid)) return false;
      locks.set(uid, { salt, hash, failures: 0, trying: Promise.resolve() });
      return true;
    },
    unlock(uid, passphrase) {
      const lock = locks.get(uid);
      if (lock === undefined) {
        passphrase.fill(0);
        return Promise.resolve(false);
      }
      const result = lock.trying.then(async () => {
        const right = timingSafeEqual(await hashOf(passphrase, lock.salt), lock.hash);
        if (right) {
          lock.hash.fill(0);
          locks.delete(uid);
        } else {
          lock.failures++;
          await new Promise((resolve) => setTimeout(resolve, Math.min(DELAY.each * lock.failures, DELAY.most)).unref());
        }
        return right;
      });
      lock.trying = result.catch(() => {});
      return result;
    },
  };
}

function hashOf(passphrase: Uint8Array, salt: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, 32, (error, hash) => {
      passphrase.fill(0);
      if (error) reject(error);
      else resolve(new Uint8Array(hash));
    });
  });
}
