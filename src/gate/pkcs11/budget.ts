import { CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

/** What one connection may have the gate keep: parts of messages, and objects of sessions. */
export interface Budget {
  /** @throws Refusal CKR_HOST_MEMORY when nothing is left */
  take(bytes: number): void;
  give(bytes: number): void;
}

export function createBudget(bytes: number): Budget {
  let left = bytes;
  return {
    take(wanted) {
      if (wanted > left) refuse(CKR.HOST_MEMORY);
      left -= wanted;
    },
    give(returned) {
      left += returned;
    },
  };
}
