/** What the front knows of keys of the vault. It is asked once, and again when the key's revision is another. */
import { factsOf, KEY_TYPES, type KeyType, type KeyUse } from "../../operations/key-types.ts";
import type { FixedPolicy } from "../../operations/policy.ts";
import type { KeyInfo } from "../../operations/table.ts";
import { type KeyNotes, readKeyNotes } from "./notes.ts";

export interface KeyFacts {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly revision: number;
  readonly type: KeyType;
  /** `~1000/tls`, or `acme/tls`. */
  readonly name: string;
  readonly owner: number;
  readonly publicKey: Uint8Array | undefined;
  readonly origin: KeyInfo["origin"];
  readonly uses: readonly KeyUse[];
  readonly fixed: FixedPolicy;
  readonly notes: KeyNotes;
  /** As the vault has them, other fronts' too. */
  readonly allNotes: Uint8Array | undefined;
}

/** @returns undefined for what is no key in the sense of PKCS#11: the pair that locked objects are encrypted to */
export function keyFactsOf(info: KeyInfo): KeyFacts | undefined {
  const { id, revision, type, name, owner, publicKey, origin, fixed, notes } = info;
  if (type === "storage") return undefined;
  if (publicKey === undefined && factsOf(type).family !== "symmetric") return undefined;
  const uses = fixed.uses ?? KEY_TYPES[type].uses;
  return {
    ...{ id, revision, type, name, owner, publicKey, origin, uses, fixed },
    notes: readKeyNotes(notes),
    allNotes: notes,
  };
}

/** A user's key has its name alone, so that it is called the same by everybody who may use it. */
export function bareName({ name }: Pick<KeyFacts, "name">): string {
  return name.startsWith("~") ? name.slice(name.indexOf("/") + 1) : name;
}

/** @returns CKA_LABEL: the key's name, or what a program called it that is no name */
export function labelOf(key: KeyFacts): string {
  const { label, name } = key.notes;
  return label !== undefined && name === key.name ? Buffer.from(label).toString() : bareName(key);
}
