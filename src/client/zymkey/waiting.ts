import { ThornkeyError } from "../../errors.ts";
import { ZymkeyTimeoutError } from "./errors.ts";

/** Of setTimeout; longer waits are made of several. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Waits for something to happen.
 *
 * @param timeout milliseconds; 0 only looks, -1 waits without end
 * @param start begins to wait; its signal fires when nobody waits any more
 * @throws ZymkeyTimeoutError; ThornkeyError `USAGE`, `ABORTED` when the caller's signal fires
 */
export async function waitFor(
  what: string,
  timeout: number,
  signal: AbortSignal | undefined,
  start: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  if (!Number.isInteger(timeout) || timeout < -1) {
    throw new ThornkeyError("USAGE", "a timeout is a number of milliseconds, 0 to look, or -1 for none");
  }
  if (signal?.aborted) throw aborted();
  const over = new AbortController();
  let giveUp: (why: ThornkeyError) => void = () => {};
  const given = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  given.catch(() => {}); // it may be settled after everybody has gone
  const stop = () => giveUp(aborted());
  signal?.addEventListener("abort", stop);
  const cancel = timeout < 0 ? () => {} : after(timeout, () => giveUp(new ZymkeyTimeoutError(`no ${what} in time`)));
  try {
    await Promise.race([start(over.signal), given]);
  } finally {
    cancel();
    signal?.removeEventListener("abort", stop);
    over.abort();
  }
}

/** @returns what cancels it */
function after(milliseconds: number, body: () => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (left: number) => {
    const now = Math.min(left, LONGEST_TIMER);
    timer = setTimeout(() => (left > now ? wait(left - now) : body()), now);
  };
  wait(milliseconds);
  return () => clearTimeout(timer);
}

export function aborted(): ThornkeyError {
  return new ThornkeyError("ABORTED", "the wait was given up");
}
