/**
 * The vault's storage key as stock age programs take it: `age1tag1…` and `age1tagpq1…` (C2SP, age specification, "The
 * tagged recipient types").
 */
import { createHash, ECDH } from "node:crypto";
import { bech32 } from "@scure/base";
import { concat } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import { extract, KEM } from "./hpke.ts";

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

/** The human-readable part of a recipient and its bytes; the stanza it makes in a header, and how that is wrapped. */
export const TAG_KINDS = {
  tag: { prefix: "age1tag", bytes: 33, stanza: "p256tag", info: "age-encryption.org/p256tag", kem: KEM.p256 },
  tagpq: {
    prefix: "age1tagpq",
    bytes: 1249,
    stanza: "mlkem768p256tag",
    info: "age-encryption.org/mlkem768p256tag",
    kem: KEM.mlkem768p256,
  },
} as const satisfies Record<TagRecipientKind, object>;

const TAG_BYTES = 4;

const MLKEM_BYTES = 1184;

/** First arguments of the stanzas that a storage key opens. */
export const TAG_STANZAS: readonly string[] = Object.values(TAG_KINDS).map(({ stanza }) => stanza);

/** @returns `age1tag1…` or `age1tagpq1…`, what `age -r` takes. @throws ThornkeyError `MALFORMED` */
export function encodeTagRecipient(kind: TagRecipientKind, { p256, mlkem }: StoragePublicKey): string {
  const bytes = kind === "tag" ? point(p256, "compressed") : concat(mlkem, point(p256, "uncompressed"));
  if (bytes.length !== TAG_KINDS[kind].bytes) throw malformed();
  return bech32.encode(TAG_KINDS[kind].prefix, bech32.toWords(bytes), false);
}

/** @throws ThornkeyError `MALFORMED` for anything else than what {@link encodeTagRecipient} gives, in either case */
export function decodeTagRecipient(text: string): TagRecipient {
  for (const kind of ["tag", "tagpq"] as const) {
    const bytes = decoded(text, TAG_KINDS[kind].prefix);
    if (bytes?.length !== TAG_KINDS[kind].bytes) continue;
    if (kind === "tag") return { kind, p256: point(bytes, "uncompressed") };
    return { kind, mlkem: bytes.slice(0, MLKEM_BYTES), p256: point(bytes.subarray(MLKEM_BYTES), "uncompressed") };
  }
  throw malformed();
}

/**
 * What tells a recipient which stanza is for him.
 *
 * @param encapsulated as it is in the stanza
 * @param p256 the recipient's point, 65 bytes
 * @returns 4 bytes
 */
export function stanzaTag(kind: TagRecipientKind, encapsulated: Uint8Array, p256: Uint8Array): Uint8Array {
  const encoded = kind === "tag" ? point(p256, "compressed") : p256;
  const hash = createHash("sha256").update(encoded).digest().subarray(0, TAG_BYTES);
  const salt = new TextEncoder().encode(TAG_KINDS[kind].info);
  return extract(salt, concat(encapsulated, hash)).subarray(0, TAG_BYTES);
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
