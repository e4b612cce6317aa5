import { ThornkeyError } from "../../errors.ts";
import { decodeStrictly, encodeStrictly } from "../../operations/protocol.ts";
import { EMPTY_JOURNAL, type JournalHead } from "../journal.ts";

/**
 * The head of the state: written with every change, it says what the whole must be. An old copy of any part does not
 * fit it, and an old copy of all of it does not fit the root's counter.
 */
export interface Head {
  /** What the root's monotonic counter says, or is about to say; undefined for a root without one. */
  readonly counter: number | undefined;
  /** Exclusive or of the tags of all records, 32 bytes. */
  readonly sum: Uint8Array;
  readonly records: number;
  readonly journal: JournalHead;
  readonly frozen: { readonly since: number; readonly reason: string } | undefined;
  /** The boot whose early part has ended. */
  readonly earlyBootEnded: string | undefined;
  /** Places of the root with keys that were deleted or used up, and are to be overwritten. */
  readonly doomed: readonly DoomedKey[];
}

/** A key that lives in the root, and must not. */
export interface DoomedKey {
  readonly handle: string;
  /** Id of its record, 32 hexadecimal digits. */
  readonly id: string;
}

export function emptyHead(counter: number | undefined): Head {
  return {
    counter,
    sum: new Uint8Array(32),
    records: 0,
    journal: EMPTY_JOURNAL,
    frozen: undefined,
    earlyBootEnded: undefined,
    doomed: [],
  };
}

export function encodeHead(head: Head): Uint8Array {
  return encodeStrictly(head);
}

/** @throws ThornkeyError `STATE_DAMAGED`; it was sealed, so this can only be another release's */
export function decodeHead(bytes: Uint8Array): Head {
  const head = decodeStrictly(bytes) as Head;
  if (!(head.sum instanceof Uint8Array) || typeof head.journal?.sequence !== "number") {
    throw new ThornkeyError("STATE_DAMAGED", "the head of the state cannot be read");
  }
  const { counter, frozen, earlyBootEnded, doomed = [] } = head;
  return { ...head, counter, frozen, earlyBootEnded, doomed };
}
