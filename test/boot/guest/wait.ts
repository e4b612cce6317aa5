import { setTimeout as pause } from "node:timers/promises";

const DEADLINE_MS = 60_000;

/** Waits, but not for ever. @returns milliseconds it took */
export async function until(what: string, condition: () => boolean): Promise<number> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > DEADLINE_MS) throw new Error(`in ${DEADLINE_MS} ms it never came: ${what}`);
    await pause(20);
  }
  return Math.round(performance.now() - start);
}
