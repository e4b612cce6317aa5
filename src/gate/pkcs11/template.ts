/** Templates: the attributes somebody wants an object to have. */
import { type Attribute, type AttributeValue, equalValues, keptValue } from "./attributes.ts";
import { CKA, CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

export type Template = ReadonlyMap<number, AttributeValue>;

const KNOWN: ReadonlySet<number> = new Set(Object.values(CKA));

/**
 * @returns a copy, each attribute once
 * @throws Refusal CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID; CKR_TEMPLATE_INCONSISTENT when one attribute
 *   is to have two values
 */
export function readTemplate(attributes: readonly Attribute[]): Template {
  const template = new Map<number, AttributeValue>();
  for (const { type, value } of attributes) {
    if (!KNOWN.has(type)) refuse(CKR.ATTRIBUTE_TYPE_INVALID);
    if (value === null) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
    const before = template.get(type);
    if (before !== undefined && !equalValues(before, value)) refuse(CKR.TEMPLATE_INCONSISTENT);
    template.set(type, keptValue(value));
  }
  return template;
}

/** Zeroes what the copy has of secrets. */
export function wipeTemplate(template: Template): void {
  for (const type of SECRETS) {
    const value = template.get(type);
    if (value instanceof Uint8Array) value.fill(0);
  }
}

const SECRETS = [
  ...[CKA.VALUE, CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2, CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT],
];

export function flagIn(template: Template, type: number, otherwise: boolean): boolean {
  const value = template.get(type);
  return typeof value === "boolean" ? value : otherwise;
}

export function numberIn(template: Template, type: number): number | undefined {
  const value = template.get(type);
  return typeof value === "number" ? value : undefined;
}

export function bytesIn(template: Template, type: number): Uint8Array | undefined {
  const value = template.get(type);
  return value instanceof Uint8Array ? value : undefined;
}

/** @throws Refusal CKR_TEMPLATE_INCOMPLETE */
export function bytesNeeded(template: Template, type: number): Uint8Array {
  const value = bytesIn(template, type);
  return value === undefined || value.length === 0 ? refuse(CKR.TEMPLATE_INCOMPLETE) : value;
}

/** @throws Refusal CKR_TEMPLATE_INCONSISTENT when the template says something else */
export function mustBe(template: Template, type: number, value: AttributeValue): void {
  const wanted = template.get(type);
  if (wanted !== undefined && !equalValues(wanted, value)) refuse(CKR.TEMPLATE_INCONSISTENT);
}
