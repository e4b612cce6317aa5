/**
 * The vault's storage key as stock age programs take it: `age1tag1…` and `age1tagpq1…` (C2SP, age specification, "The
 * tagged recipient types").
 */
import { ECDH } from "node:crypto";
import { bech32 } from "@scure/base";
import { concat } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";

/** The public half of a storage key. */
export interface StoragePublicKey {
  /** 65 bytes, uncompressed */
  readonly p256: Uint8Array;
  /** 1184 bytes */
  readonly mlkem: Uint8Array;
}

export type TagRecipient =
  | { readonly kind: "tag"; readonly p256: Uint8Array }
  | ({ readonly kind: "tagpq" } & StoragePublicKey);

/** `tagpq` withstands quantum computers, and has some 2000 characters; `tag` is P-256 alone, and fits into a line. */
export type TagRecipientKind = TagRecipient["kind"];

/** The human-readable part of a recipient, its bytes, and the stanza it makes in a header. */
const KINDS = {
  tag: { prefix: "age1tag", bytes: 33, stanza: "p256tag" },
  tagpq: { prefix: "age1tagpq", bytes: 1249, stanza: "mlkem768p256tag" },
} as const satisfies Record<TagRecipientKind, { prefix: string; bytes: number; stanza: string }>;

const MLKEM_BYTES = 1184;

/** First arguments of the stanzas that a storage key opens. */
export const TAG_STANZAS: readonly string[] = Object.values(KINDS).map(({ stanza }) => stanza);

/** @returns `age1tag1…` or `age1tagpq1…`, what `age -r` takes. @throws ThornkeyError `MALFORMED` */
export function encodeTagRecipient(kind: TagRecipientKind, { p256, mlkem }: StoragePublicKey): string {
  const bytes = kind === "tag" ? point(p256, "compressed") : concat(mlkem, point(p256, "uncompressed"));
  if (bytes.length !== KINDS[kind].bytes) throw malformed();
  return bech32.encode(KINDS[kind].prefix, bech32.toWords(bytes), false);
}

/** @throws ThornkeyError `MALFORMED` for anything else than what {@link encodeTagRecipient} gives, in either case */
export function decodeTagRecipient(text: string): TagRecipient {
  for (const kind of ["tag", "tagpq"] as const) {
    const bytes = decoded(text, KINDS[kind].prefix);
    if (bytes?.length !== KINDS[kind].bytes) continue;
    if (kind === "tag") return { kind, p256: point(bytes, "uncompressed") };
    return { kind, mlkem: bytes.slice(0, MLKEM_BYTES), p256: point(bytes.subarray(MLKEM_BYTES), "uncompressed") };
  }
  throw malformed();
}

function decoded(text: string, prefix: string): Uint8Array | undefined {
  // The limit of 90 characters of BIP 173 does not hold for age.
  const result = bech32.decodeUnsafe(text, false);
  if (result === undefined || result.prefix !== prefix) return undefined;
  return bech32.fromWordsUnsafe(result.words) || undefined;
}

/** @param encoded a point of P-256 in any form. @throws ThornkeyError `MALFORMED` when it is not on the curve */
function point(encoded: Uint8Array, form: "compressed" | "uncompressed"): Uint8Array {
  try {
    return new Uint8Array(ECDH.convertKey(encoded, "prime256v1", undefined, undefined, form) as Buffer);
  } catch {
    throw malformed();
  }
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "this is no age1tag1… or age1tagpq1… recipient");
}
