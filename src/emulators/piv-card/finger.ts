import { existsSync } from "node:fs";

/** Milliseconds: how long a card waits for a finger, and how often it looks. */
const FINGER = { within: 15_000, every: 25 } as const;

/**
 * A finger that is on the card for as long as a file is there. Without a path there is always one.
 *
 * @param within milliseconds the card waits
 * @param wanted told when the card begins to wait
 * @returns what waits for it: true when it came, false when it did not
 */
export function fingerAt(
  path: string | undefined,
  within: number = FINGER.within,
  wanted: (path: string) => void = () => {},
): () => Promise<boolean> {
  if (path === undefined) return async () => true;
  return async () => {
    const until = performance.now() + within;
    if (!existsSync(path)) wanted(path);
    while (!existsSync(path)) {
      if (performance.now() >= until) return false;
      await new Promise((resolve) => setTimeout(resolve, FINGER.every).unref()); // a card that is taken out waits for nobody
    }
    return true;
  };
}
