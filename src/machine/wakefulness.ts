/**
 * Whoever has just answered is often asked again at once, and waking a processor that fell asleep meanwhile takes longer
 * than most answers do. So the event loop looks again and again for a moment before it sleeps. While nothing happens this
 * costs nothing.
 */
export interface Wakefulness {
  /** Something happened: for a moment from now on the loop does not sleep. */
  touch(): void;
}

/** @param microseconds how long a moment is; 0 for not at all */
export function createWakefulness(microseconds: number): Wakefulness {
  let until = 0;
  let awake = false;
  const look = () => {
    if (performance.now() < until) setImmediate(look);
    else awake = false;
  };
  return {
    touch() {
      if (microseconds === 0) return;
      until = performance.now() + microseconds / 1000;
      if (awake) return;
      awake = true;
      setImmediate(look);
    },
  };
}

/** What vault and gate take; the figures are in `bench/pkcs11.ts`. */
export const AWAKE_MICROSECONDS = Number(process.env.THORNKEY_SPIN ?? 100);
