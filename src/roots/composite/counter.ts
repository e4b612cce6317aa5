/**
 * The counter of several roots. All parts count together; what each said when they were put together is subtracted. So a
 * part that lags behind the others was put back to an earlier time, or was not there.
 */
import { ThornkeyError } from "../../errors.ts";
import type { Counter } from "../root.ts";

export interface CountingPart {
  /** For a person. */
  readonly name: string;
  readonly counter: Counter;
  /** What it said when the composition counted 0. */
  readonly base: number;
}

/**
 * @param parts at least one
 * @param all every part is needed, so none may lag behind by more than the one step that was interrupted
 */
export function jointCounter(parts: readonly CountingPart[], all: boolean): Counter {
  async function values(): Promise<{ part: CountingPart; value: number }[]> {
    return Promise.all(parts.map(async (part) => ({ part, value: (await part.counter.read()) - part.base })));
  }

  async function read(): Promise<number> {
    const read = await values();
    const newest = Math.max(...read.map(({ value }) => value));
    for (const { part, value } of read) {
      if (value === newest || (!all && value < newest - 1)) continue;
      if (value < newest - 1) {
        throw new ThornkeyError(
          "ROLLED_BACK",
          `${part.name} counts ${value} changes and the others ${newest}: it was put back to an earlier time, or is another one`,
          { hint: "put back the part as it was used last" },
        );
      }
      await part.counter.increment(); // an increment was interrupted between two parts
    }
    return newest;
  }

  let last: Promise<unknown> = Promise.resolve();
  /** One at a time: between the parts nothing of another count may come. */
  const inTurn = <T>(body: () => Promise<T>): Promise<T> => {
    const mine = last.then(body);
    last = mine.catch(() => {});
    return mine;
  };

  async function increment(): Promise<number> {
    const now = await read();
    for (const part of parts) {
      const value = (await part.counter.read()) - part.base;
      if (value === now) await part.counter.increment();
    }
    return now + 1;
  }

  return {
    maximum: Math.min(...parts.map(({ counter, base }) => counter.maximum - base)),
    read: () => inTurn(read),
    increment: () => inTurn(increment),
  };
}
