/** What the front knows of keys of the vault. Nothing of it ever changes, so it is asked once for each key. */
import { factsOf, KEY_TYPES, type KeyType, type KeyUse } from "../../operations/key-types.ts";
import type { FixedPolicy } from "../../operations/policy.ts";
import type { KeyInfo } from "../../operations/table.ts";

export interface KeyFacts {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly type: KeyType;
  /** `~1000/tls`, or `acme/tls`. */
  readonly name: string;
  readonly owner: number;
  readonly publicKey: Uint8Array | undefined;
  readonly origin: KeyInfo["origin"];
  readonly uses: readonly KeyUse[];
  readonly fixed: FixedPolicy;
  readonly resident: boolean;
}

/** @returns undefined for what is no key in the sense of PKCS#11: the pair that locked objects are encrypted to */
export function keyFactsOf(info: KeyInfo): KeyFacts | undefined {
  const { id, type, name, owner, publicKey, origin, fixed, protection } = info;
  if (type === "storage") return undefined;
  if (publicKey === undefined && factsOf(type).family !== "symmetric") return undefined;
  const uses = fixed.uses ?? KEY_TYPES[type].uses;
  return { id, type, name, owner, publicKey, origin, uses, fixed, resident: protection === "resident" };
}

/** CKA_LABEL: a user's key has its name alone, so that it is the same for everybody who may use it. */
export function labelOf({ name }: Pick<KeyFacts, "name">): string {
  return name.startsWith("~") ? name.slice(name.indexOf("/") + 1) : name;
}
