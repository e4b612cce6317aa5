/** An object as programs see it, and what is behind it. */
import type { Secret } from "../../bytes/secret.ts";
import type { ObjectClass } from "../../operations/objects.ts";
import type { AttributeValue } from "./attributes.ts";
import { CKA } from "./constants.ts";
import type { KeyFacts } from "./key-facts.ts";
import type { PublicPart } from "./public-part.ts";

/**
 * - `key`: a private or secret key of the vault
 * - `public`: a public key, which is used here
 * - `value`: a secret key whose value is here, until its session ends
 * - `stored`: a certificate or data, kept by the vault
 * - `kept`: the same, kept here until its session ends
 */
export type Backing =
  | { readonly kind: "key"; readonly key: KeyFacts }
  | {
      readonly kind: "public";
      readonly part: PublicPart;
      /** The key of the vault it belongs to. */
      readonly key: KeyFacts | undefined;
      /** What the vault keeps it as, when it is nobody's public part. */
      readonly stored?: string;
    }
  | { readonly kind: "value"; readonly value: Secret }
  | { readonly kind: "stored"; readonly id: string; readonly class: ObjectClass }
  | { readonly kind: "kept" };

export interface TokenObject {
  readonly handle: number;
  readonly attributes: ReadonlyMap<number, AttributeValue>;
  /** Attributes it has and shows nobody. */
  readonly hidden: ReadonlySet<number>;
  readonly backing: Backing;
}

export function classOf({ attributes }: Pick<TokenObject, "attributes">): number {
  return numberOf(attributes, CKA.CLASS);
}

/** @returns an attribute that is a number; -1 when there is none */
export function numberOf(attributes: ReadonlyMap<number, AttributeValue>, type: number): number {
  const value = attributes.get(type);
  return typeof value === "number" ? value : -1;
}

export function flagOf(attributes: ReadonlyMap<number, AttributeValue>, type: number): boolean {
  return attributes.get(type) === true;
}

/** @returns an attribute that is bytes */
export function bytesOf(attributes: ReadonlyMap<number, AttributeValue>, type: number): Uint8Array | undefined {
  const value = attributes.get(type);
  return value instanceof Uint8Array ? value : undefined;
}
