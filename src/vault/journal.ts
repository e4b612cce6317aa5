/**
 * The journal: one line of JSON an entry, each with the SHA-256 of the line before it. Now and then the evidence key
 * signs how far it has come. Anybody can check an exported journal with `sha256sum` and the evidence key's public part;
 * {@link ../operations/journal-check.ts} does.
 */
import { createHash } from "node:crypto";
import { toHex } from "../bytes/bytes.ts";
import type { VaultEvent } from "../operations/table.ts";
import type { CallerFacts } from "../operations/who.ts";
import type { Certification } from "../roots/root.ts";

/** What one entry says besides its place in the chain. */
export interface Entry {
  readonly kind: string;
  /** For a person. */
  readonly text: string;
  readonly key?: { readonly id: string; readonly name: string; readonly generation: number } | undefined;
  readonly caller?: CallerFacts | undefined;
  /** Further fields, all of them public. */
  readonly details?: { readonly [name: string]: unknown } | undefined;
}

/** Where the chain ends. */
export interface JournalHead {
  readonly sequence: number;
  /** SHA-256 of the last line; 32 zero bytes before the first. */
  readonly hash: Uint8Array;
  /** The entry up to which it is signed. */
  readonly signed: number;
}

export const EMPTY_JOURNAL: JournalHead = { sequence: 0, hash: new Uint8Array(32), signed: 0 };

/** @returns the line of the next entry, and the head after it */
export function nextLine(
  head: JournalHead,
  entry: Entry,
  time: number,
  boot: string,
): { line: string; head: JournalHead } {
  const sequence = head.sequence + 1;
  const line = JSON.stringify({
    sequence,
    time: new Date(time).toISOString(),
    boot,
    previous: toHex(head.hash),
    kind: entry.kind,
    text: entry.text,
    ...(entry.key && { key: entry.key }),
    ...(entry.caller && { caller: callerOf(entry.caller) }),
    ...entry.details,
  });
  return { line, head: { ...head, sequence, hash: hashOf(line) } };
}

function callerOf({ uid, gid, pid, front, program, unit }: CallerFacts) {
  return { uid, gid, pid, front, ...(program !== undefined && { program }), ...(unit !== undefined && { unit }) };
}

export function hashOf(line: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(line).digest());
}

/** @returns the entry with which the evidence key signs all entries before it */
export function checkpoint(head: JournalHead, certification: Certification): Entry {
  return {
    kind: "checkpoint",
    text: `the evidence key signed the journal up to entry ${head.sequence}`,
    details: {
      covers: { sequence: head.sequence, hash: toHex(head.hash) },
      evidence: {
        format: certification.format,
        message: toHex(certification.message),
        signature: toHex(certification.signature),
        signer: toHex(certification.signer),
        subject: toHex(certification.subject),
      },
    },
  };
}

/** An entry as a subscriber of events gets it. */
export function eventOf(sequence: number, time: number, entry: Entry): VaultEvent {
  return {
    sequence,
    time,
    kind: entry.kind,
    text: entry.text,
    ...(entry.key && { key: entry.key.name }),
  };
}
