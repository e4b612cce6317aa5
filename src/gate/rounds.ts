/**
 * Requests that wait for the vault, taken in turn from everybody who waits: one caller with a thousand requests delays
 * another by one request, not by a thousand.
 */
import { ThornkeyError } from "../errors.ts";

export interface Rounds<Item> {
  /** @throws ThornkeyError `LIMIT_REACHED` when `caller` has too many waiting already */
  push(caller: number, item: Item): void;
  /** Puts items of `caller` before all others of his: they were taken once, and came back. */
  putBack(caller: number, items: readonly Item[]): void;
  /**
   * @param ready whether something of this caller may be taken now
   * @returns the next caller's next item, or undefined when nothing can be taken
   */
  take(ready: (caller: number) => boolean): Item | undefined;
  /** @returns whether it was waiting; it does not any more */
  remove(caller: number, item: Item): boolean;
  readonly size: number;
}

/** @param limit how many one caller may have waiting */
export function createRounds<Item>(limit: number): Rounds<Item> {
  /** Everybody who waits, the next one first. */
  const turns = new Map<number, Item[]>();
  let size = 0;
  return {
    push(caller, item) {
      const own = turns.get(caller);
      if (own === undefined) turns.set(caller, [item]);
      else if (own.length >= limit) {
        throw new ThornkeyError("LIMIT_REACHED", `this connection has ${limit} requests waiting already`, {
          hint: "wait for answers before asking more",
        });
      } else own.push(item);
      size++;
    },
    putBack(caller, items) {
      if (items.length === 0) return;
      turns.set(caller, [...items, ...(turns.get(caller) ?? [])]);
      size += items.length;
    },
    take(ready) {
      for (const [caller, own] of turns) {
        if (!ready(caller)) continue;
        const item = own.shift();
        turns.delete(caller);
        if (own.length > 0) turns.set(caller, own); // to the end of the line
        if (item === undefined) continue;
        size--;
        return item;
      }
      return undefined;
    },
    remove(caller, item) {
      const own = turns.get(caller);
      const index = own?.indexOf(item) ?? -1;
      if (own === undefined || index < 0) return false;
      own.splice(index, 1);
      if (own.length === 0) turns.delete(caller);
      size--;
      return true;
    },
    get size() {
      return size;
    },
  };
}
