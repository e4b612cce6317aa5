import { concat } from "../../bytes/bytes.ts";
import type { Budget } from "./budget.ts";
import { CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

/** A message that comes in parts and is needed whole. */
export interface Gathered {
  /** Copies. @throws Refusal CKR_DATA_LEN_RANGE when it becomes too long */
  add(part: Uint8Array): void;
  readonly length: number;
  /** @returns all of it; zeroed when this is closed */
  whole(): Uint8Array;
  close(): void;
}

/** @param most bytes of the whole */
export function gather(budget: Budget, most: number, tooLong: number = CKR.DATA_LEN_RANGE): Gathered {
  let parts: Uint8Array[] = [];
  let length = 0;
  return {
    add(part) {
      if (length + part.length > most) refuse(tooLong);
      budget.take(part.length);
      length += part.length;
      parts.push(part.slice());
    },
    get length() {
      return length;
    },
    whole() {
      const [first = new Uint8Array(0)] = parts;
      if (parts.length <= 1) return first;
      const all = concat(...parts);
      for (const part of parts) part.fill(0);
      parts = [all];
      return all;
    },
    close() {
      for (const part of parts) part.fill(0);
      parts = [];
      budget.give(length);
      length = 0;
    },
  };
}
