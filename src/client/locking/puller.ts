import { ThornkeyError } from "../../errors.ts";

/** Takes from a stream as many bytes as are wanted, however they come in. */
export interface Puller {
  /** @returns the next bytes, at least one, as they came in; undefined at the end */
  next(): Promise<Uint8Array | undefined>;
  /** @returns how many bytes of `target` were filled: all, or fewer at the end of the stream */
  fill(target: Uint8Array): Promise<number>;
  /** @returns whether nothing more comes; waits for the next byte or the end */
  ended(): Promise<boolean>;
  /** Puts bytes back in front. */
  unread(bytes: Uint8Array): void;
  /** Tells the source that no more is wanted. */
  close(): Promise<void>;
}

/** @param signal ends every waiting with `ABORTED` */
export function pullFrom(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Puller {
  const iterator = source[Symbol.asyncIterator]();
  let rest: Uint8Array | undefined;
  let over = false;

  async function next(): Promise<Uint8Array | undefined> {
    throwIfAborted(signal);
    if (rest !== undefined) {
      const bytes = rest;
      rest = undefined;
      return bytes;
    }
    while (!over) {
      const { value, done } = await orAborted(iterator.next(), signal);
      if (done) over = true;
      else if (value.length > 0) return value;
    }
    return undefined;
  }

  return {
    next,
    async fill(target) {
      let filled = 0;
      while (filled < target.length) {
        const bytes = await next();
        if (bytes === undefined) break;
        const taken = bytes.subarray(0, target.length - filled);
        target.set(taken, filled);
        filled += taken.length;
        if (taken.length < bytes.length) rest = bytes.subarray(taken.length);
      }
      return filled;
    },
    async ended() {
      rest = await next();
      return rest === undefined;
    },
    unread(bytes) {
      if (rest !== undefined) throw new Error("one thing is put back at a time");
      if (bytes.length > 0) rest = bytes;
    },
    async close() {
      // A source that hangs in next() hangs in return() as well; nobody waits for it.
      const closing = over ? undefined : iterator.return?.();
      over = true;
      if (signal?.aborted) closing?.catch(() => undefined);
      else await closing;
    },
  };
}

/** @throws ThornkeyError `ABORTED` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

function aborted(signal: AbortSignal): ThornkeyError {
  return new ThornkeyError("ABORTED", "given up before it was done", { cause: signal.reason });
}

/** @returns what the promise gives. @throws ThornkeyError `ABORTED` when the signal is quicker */
export function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(aborted(signal));
  return new Promise((resolve, reject) => {
    const abort = () => reject(aborted(signal));
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
