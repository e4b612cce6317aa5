import { only, tlvsOf } from "./tlv.ts";

/** The dynamic authentication template of GENERAL AUTHENTICATE (SP 800-73-4 Part 2, table 7): values by tag. */
export type Template = ReadonlyMap<number, Uint8Array>;

export const TAG = { template: 0x7c, witness: 0x80, challenge: 0x81, response: 0x82, exponentiation: 0x85 } as const;

/** @returns undefined when it is no template, or has a tag twice */
export function templateOf(data: Uint8Array): Template | undefined {
  const inside = only(TAG.template, data);
  const objects = inside && tlvsOf(inside);
  const template = new Map(objects?.map(({ tag, value }) => [tag, value]));
  return objects && template.size === objects.length ? template : undefined;
}
