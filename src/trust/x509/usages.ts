/** What a certified key is for: KeyUsage and ExtendedKeyUsage (RFC 5280, 4.2.1.3 and 4.2.1.12), by one table of names. */
import { ExtendedKeyUsage, KeyUsage as KeyUsageSchema } from "@peculiar/asn1-x509";
import { ThornkeyError } from "../../errors.ts";
import { dottedOf, fieldsOf, namedBitsIn, only, TYPE } from "./der.ts";
import { encodeSchema } from "./schema.ts";

/** Numbers of the bits. */
const KEY_USAGES = {
  digitalSignature: 0,
  contentCommitment: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
  encipherOnly: 7,
  decipherOnly: 8,
} as const;
export type KeyUsage = keyof typeof KEY_USAGES;

const PURPOSES = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  codeSigning: "1.3.6.1.5.5.7.3.3",
  emailProtection: "1.3.6.1.5.5.7.3.4",
  timeStamping: "1.3.6.1.5.5.7.3.8",
  OCSPSigning: "1.3.6.1.5.5.7.3.9",
} as const;
export type Purpose = keyof typeof PURPOSES;

export type Usage = KeyUsage | Purpose;
export const USAGES = [...Object.keys(KEY_USAGES), ...Object.keys(PURPOSES)] as readonly Usage[];

export const isKeyUsage = (usage: string): usage is KeyUsage => Object.hasOwn(KEY_USAGES, usage);
export const isPurpose = (usage: string): usage is Purpose => Object.hasOwn(PURPOSES, usage);

/** @throws ThornkeyError `USAGE` for a name the table does not have */
export function usageOf(name: string): Usage {
  const known = USAGES.find((usage) => usage.toLowerCase() === name.toLowerCase());
  if (known !== undefined) return known;
  throw new ThornkeyError("USAGE", `there is no usage '${name}'`, { hint: `there are ${USAGES.join(", ")}` });
}

/** @returns KeyUsage, DER */
export function encodeKeyUsage(usages: readonly KeyUsage[]): Uint8Array {
  return encodeSchema(new KeyUsageSchema(...namedBits(usages.map((usage) => KEY_USAGES[usage]))));
}

/** @returns ExtKeyUsageSyntax, DER */
export function encodePurposes(purposes: readonly Purpose[]): Uint8Array {
  return encodeSchema(new ExtendedKeyUsage(purposes.map((purpose) => PURPOSES[purpose])));
}

/**
 * The order DER has for flags: bit 0 is the highest of the first byte; zeros at the end are left out (X.690, 11.2.2).
 *
 * @returns the bytes, and how many bits of the last are not used
 */
function namedBits(bits: readonly number[]): [ArrayBuffer, number] {
  const highest = Math.max(-1, ...bits);
  const bytes = new Uint8Array(Math.ceil((highest + 1) / 8));
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return [bytes.buffer, highest < 0 ? 0 : 7 - (highest & 7)];
}

/** @param der KeyUsage. @throws ThornkeyError `MALFORMED` */
export function readKeyUsage(der: Uint8Array): KeyUsage[] {
  const bits = new Set(namedBitsIn(only(TYPE.bitString, der)));
  return Object.entries(KEY_USAGES).flatMap(([name, bit]) => (bits.has(bit) ? [name as KeyUsage] : []));
}

/** @param der ExtKeyUsageSyntax. @returns names, and numbers of those the table does not have */
export function readPurposes(der: Uint8Array): string[] {
  const fields = fieldsOf(only(TYPE.sequence, der));
  const found: string[] = [];
  while (fields.more) {
    const dotted = dottedOf(fields.next(TYPE.oid));
    found.push(Object.entries(PURPOSES).find(([, number]) => number === dotted)?.[0] ?? dotted);
  }
  return found;
}
