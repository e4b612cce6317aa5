/** Key records: what the state holds of a key, and how it is written and read. */
import { toHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import type { FixedPolicy, Policy } from "../operations/policy.ts";
import type { RecordType } from "../operations/table.ts";
import type { OpenRecord } from "./store/state.ts";

export interface KeyRecord {
  /** Version of this form. */
  readonly version: 1;
  /** Where the name belongs: `~1000` for a user, or a namespace. */
  readonly scope: string;
  /** Without its scope. */
  readonly label: string;
  readonly type: RecordType;
  readonly origin: "generated" | "imported" | "derived" | "unwrapped" | "wallet";
  /** uid */
  readonly owner: number;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly fixed: FixedPolicy;
  readonly policy: Policy;
  /** SubjectPublicKeyInfo; for `storage` P-256 point and ML-KEM key; nothing for symmetric keys. */
  readonly publicKey?: Uint8Array | undefined;
  /** Serial number of the root. */
  readonly root: string;
  /** For a resident key: its place in the root. */
  readonly handle?: string | undefined;
  /** For a wrapped key: its private part, sealed once more under ingredient and id where the policy wants one. */
  readonly material?: Uint8Array | undefined;
  /** Only for a key whose policy counts. */
  readonly uses?: UseCount | undefined;
  readonly wallet?: WalletPlace | undefined;
  /** What a front keeps with the key. */
  readonly notes?: Uint8Array | undefined;
}

export interface UseCount {
  readonly total: number;
  /** The boot the next field is about. */
  readonly boot: string;
  readonly thisBoot: number;
  /** Milliseconds since 1970; 0 before the first. */
  readonly last: number;
}

export interface WalletPlace {
  readonly name: string;
  /** `m`, `m/44'/0'`. */
  readonly path: string;
  readonly masterId: string;
  readonly variant: string;
  /** Not for the curve's own sake: a child needs it. */
  readonly chainCode: Uint8Array;
  /** Watch-only: there is no private part. */
  readonly watchOnly: boolean;
}

/** A key as the vault handles it. */
export interface StoredKey extends KeyRecord {
  readonly id: string;
  readonly idBytes: Uint8Array;
  readonly generation: number;
  readonly name: string;
  readonly protection: "resident" | "wrapped";
}

/** @throws ThornkeyError `STATE_DAMAGED`; it was sealed, so this can only be another release's */
export function storedKey(record: OpenRecord): StoredKey {
  const body = record.body as KeyRecord;
  if (body?.version !== 1 || typeof body.label !== "string" || typeof body.scope !== "string") {
    throw new ThornkeyError("STATE_DAMAGED", "a key record that this release cannot read", {
      hint: "was Thornkey downgraded? The release that wrote it can read it",
    });
  }
  return {
    ...body,
    id: toHex(record.id),
    idBytes: record.id,
    generation: record.generation,
    name: fullName(body.scope, body.label),
    protection: body.handle === undefined ? "wrapped" : "resident",
  };
}

export function fullName(scope: string, label: string): string {
  return `${scope}/${label}`;
}

/** The scope of one user's keys. */
export function userScope(uid: number): string {
  return `~${uid}`;
}

export function isUserScope(scope: string): boolean {
  return scope.startsWith("~");
}

/** @returns the part of a stored key that is written */
export function recordOf(key: StoredKey): KeyRecord {
  const { id: _id, idBytes: _bytes, generation: _generation, name: _name, protection: _protection, ...body } = key;
  return body;
}

/** What is kept a second time: enough to know what was lost, and to find a resident key again. */
export function summaryOf({ scope, label, type, owner, created, publicKey, root, handle }: KeyRecord) {
  return { scope, label, type, owner, created, publicKey, root, handle };
}

export type KeyRecordSummary = ReturnType<typeof summaryOf>;
