/** What is signed or verified: hashed as it comes, or gathered. */
import { createHash, createHmac } from "node:crypto";
import type { Budget } from "./budget.ts";
import { gather } from "./gathered.ts";
import type { Hash } from "./mechanisms.ts";

export interface Message {
  update(part: Uint8Array): void;
  /** @returns the digest, or all that came; good until this is closed */
  finish(): Uint8Array;
  close(): void;
}

export function hashed(hash: Hash): Message {
  const digest = createHash(hash);
  return {
    update: (part) => void digest.update(part),
    finish: () => new Uint8Array(digest.digest()),
    close() {},
  };
}

export function maced(hash: Hash, key: Uint8Array): Message {
  const mac = createHmac(hash, key);
  return {
    update: (part) => void mac.update(part),
    finish: () => new Uint8Array(mac.digest()),
    close() {},
  };
}

/** @param most bytes; more is CKR_DATA_LEN_RANGE */
export function gathered(budget: Budget, most: number): Message {
  const all = gather(budget, most);
  return { update: (part) => all.add(part), finish: () => all.whole(), close: () => all.close() };
}
