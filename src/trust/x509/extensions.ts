/** Extensions of certificates and requests (RFC 5280, 4.2): what they say, written and read. */
import { createHash } from "node:crypto";
import { OctetString } from "@peculiar/asn1-schema";
import {
  AuthorityKeyIdentifier,
  BasicConstraints,
  CRLDistributionPoints,
  DistributionPoint,
  DistributionPointName,
  Extension as ExtensionSchema,
  KeyIdentifier,
  SubjectKeyIdentifier,
} from "@peculiar/asn1-x509";
import { unsignedDigits } from "../../bytes/asn1.ts";
import { ThornkeyError } from "../../errors.ts";
import {
  type AlternativeName,
  encodeAlternativeNames,
  generalName,
  readAlternativeNames,
} from "./alternative-names.ts";
import { dottedOf, fieldsOf, only, TYPE } from "./der.ts";
import { bufferOf, encodeSchema } from "./schema.ts";
import {
  encodeKeyUsage,
  encodePurposes,
  isKeyUsage,
  isPurpose,
  type KeyUsage,
  readKeyUsage,
  readPurposes,
  type Usage,
} from "./usages.ts";

export const EXTENSION = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  crlNumber: "2.5.29.20",
  reasonCode: "2.5.29.21",
  crlDistributionPoints: "2.5.29.31",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const;

export interface Authority {
  /** How many further authorities may stand below; nothing for any number. */
  readonly pathLength?: number | undefined;
}

/** What can be asked for, or said of a key. */
export interface ExtensionWishes {
  /** `false`: says that it is none. */
  readonly authority?: Authority | false | undefined;
  readonly usages?: readonly Usage[] | undefined;
  readonly names?: readonly AlternativeName[] | undefined;
  /** The subject is empty, and the alternative names stand in for it: they are critical then (RFC 5280, 4.2.1.6). */
  readonly namesAreSubject?: boolean | undefined;
  readonly subjectKeyId?: Uint8Array | undefined;
  readonly authorityKeyId?: Uint8Array | undefined;
  /** Where the list of what is revoked is to be had. */
  readonly crlUrl?: string | undefined;
}

/** @param value DER of the extension's own type */
export function extension(extnID: string, critical: boolean, value: Uint8Array): ExtensionSchema {
  return new ExtensionSchema({ extnID, critical, extnValue: new OctetString(bufferOf(value)) });
}

/** @returns the extensions in the order of RFC 5280. @throws ThornkeyError `USAGE` for a name that is none */
export function extensionsFor(wishes: ExtensionWishes): ExtensionSchema[] {
  const { authority, usages = [], names = [], subjectKeyId, authorityKeyId, crlUrl } = wishes;
  const [keyUsages, purposes] = [usages.filter(isKeyUsage), usages.filter(isPurpose)];
  const made: ExtensionSchema[] = [];
  const add = (name: keyof typeof EXTENSION, critical: boolean, value: Uint8Array) =>
    made.push(extension(EXTENSION[name], critical, value));
  if (authority !== undefined) add("basicConstraints", true, constraints(authority));
  if (keyUsages.length > 0) add("keyUsage", true, encodeKeyUsage(keyUsages));
  if (purposes.length > 0) add("extendedKeyUsage", false, encodePurposes(purposes));
  if (subjectKeyId) add("subjectKeyIdentifier", false, encodeSchema(new SubjectKeyIdentifier(bufferOf(subjectKeyId))));
  if (authorityKeyId) add("authorityKeyIdentifier", false, authorityKeyIdentifier(authorityKeyId));
  if (names.length > 0) add("subjectAltName", wishes.namesAreSubject ?? false, encodeAlternativeNames(names));
  if (crlUrl !== undefined) add("crlDistributionPoints", false, distributionPoint(crlUrl));
  return made;
}

function constraints(authority: Authority | false): Uint8Array {
  if (authority === false) return encodeSchema(new BasicConstraints());
  const { pathLength } = authority;
  return encodeSchema(
    new BasicConstraints({ cA: true, ...(pathLength !== undefined && { pathLenConstraint: pathLength }) }),
  );
}

/** @returns AuthorityKeyIdentifier, DER */
export function authorityKeyIdentifier(keyId: Uint8Array): Uint8Array {
  return encodeSchema(new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(bufferOf(keyId)) }));
}

function distributionPoint(url: string): Uint8Array {
  const distributionPoint = new DistributionPointName({ fullName: [generalName(`uri:${url}`)] });
  return encodeSchema(new CRLDistributionPoints([new DistributionPoint({ distributionPoint })]));
}

export interface Extension {
  readonly critical: boolean;
  /** DER of the extension's own type. */
  readonly value: Uint8Array;
}

/** By their object identifiers. */
export type Extensions = ReadonlyMap<string, Extension>;

/**
 * @param list the content of Extensions
 * @throws ThornkeyError `MALFORMED`, also when one is there twice
 */
export function readExtensions(list: Uint8Array): Extensions {
  const found = new Map<string, Extension>();
  const all = fieldsOf(list);
  while (all.more) {
    const fields = fieldsOf(all.next(TYPE.sequence));
    const dotted = dottedOf(fields.next(TYPE.oid));
    const critical = (fields.optional(TYPE.boolean)?.[0] ?? 0) !== 0;
    const value = fields.next(TYPE.octetString);
    fields.end();
    if (found.has(dotted)) throw new ThornkeyError("MALFORMED", `the extension ${dotted} is there twice`);
    found.set(dotted, { critical, value });
  }
  return found;
}

/** What extensions say, as far as they are known here. */
export interface Statements {
  /** Nothing when it is no authority. */
  readonly authority?: Authority;
  readonly keyUsages?: readonly KeyUsage[];
  readonly purposes?: readonly string[];
  readonly names: readonly AlternativeName[];
  readonly subjectKeyId?: Uint8Array;
  readonly authorityKeyId?: Uint8Array;
}

/** @throws ThornkeyError `MALFORMED` */
export function statementsOf(extensions: Extensions): Statements {
  const of = (name: keyof typeof EXTENSION) => extensions.get(EXTENSION[name])?.value;
  const [basic, usage, purposes, names] = [
    ...[of("basicConstraints"), of("keyUsage"), of("extendedKeyUsage"), of("subjectAltName")],
  ];
  const [subjectKey, authorityKey] = [of("subjectKeyIdentifier"), of("authorityKeyIdentifier")];
  const authority = basic && readConstraints(basic);
  const authorityKeyId = authorityKey && fieldsOf(only(TYPE.sequence, authorityKey)).optional(0x80);
  return {
    ...(authority && { authority }),
    ...(usage && { keyUsages: readKeyUsage(usage) }),
    ...(purposes && { purposes: readPurposes(purposes) }),
    names: names === undefined ? [] : readAlternativeNames(names),
    ...(subjectKey && { subjectKeyId: only(TYPE.octetString, subjectKey) }),
    ...(authorityKeyId && { authorityKeyId }),
  };
}

function readConstraints(der: Uint8Array): Authority | undefined {
  const fields = fieldsOf(only(TYPE.sequence, der));
  const isAuthority = (fields.optional(TYPE.boolean)?.[0] ?? 0) !== 0;
  const length = fields.optional(TYPE.integer);
  fields.end();
  if (!isAuthority) return undefined;
  if (length === undefined) return {};
  return { pathLength: unsignedDigits(length).reduce((sum, byte) => sum * 256 + byte, 0) };
}

/** RFC 5280, 4.2.1.2 (1): SHA-1 of the key's bits. It is a name, and nothing rests on it. */
export function keyIdOf(spki: Uint8Array): Uint8Array {
  const fields = fieldsOf(only(TYPE.sequence, spki));
  fields.next(TYPE.sequence);
  const bits = fields.next(TYPE.bitString);
  return new Uint8Array(createHash("sha1").update(bits.subarray(1)).digest());
}
