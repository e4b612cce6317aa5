/** Subject alternative names (RFC 5280, 4.2.1.6) as `dns:…`, `ip:…`, `email:…`, `uri:…`. */
import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { GeneralName, GeneralNames } from "@peculiar/asn1-x509";
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { dottedOf, fieldsOf, only, TYPE } from "./der.ts";
import { nameText } from "./names.ts";
import { encodeSchema } from "./schema.ts";

interface Kind {
  /** The choice in GeneralName: its number, and its name in the schema. */
  readonly choice: number;
  readonly field: "dNSName" | "iPAddress" | "rfc822Name" | "uniformResourceIdentifier";
  /** @returns undefined for what is no such name */
  readonly encode: (text: string) => Uint8Array | undefined;
  /** @returns undefined for what is no such name */
  readonly decode: (bytes: Uint8Array) => string | undefined;
  readonly example: string;
}

/** @returns undefined for what is no IA5String: it must not become another name when it is written again */
const ascii = (bytes: Uint8Array) => (bytes.some((byte) => byte >= 0x80) ? undefined : Buffer.from(bytes).toString());

const KINDS: { readonly [name: string]: Kind } = {
  dns: { choice: 2, field: "dNSName", encode: dnsName, decode: ascii, example: "dns:pump7.example.com" },
  ip: {
    choice: 7,
    field: "iPAddress",
    encode: address,
    decode: addressText,
    example: "ip:192.0.2.7 or ip:2001:db8::7",
  },
  email: { choice: 1, field: "rfc822Name", encode: mailbox, decode: ascii, example: "email:ann@example.com" },
  uri: {
    choice: 6,
    field: "uniformResourceIdentifier",
    encode: uri,
    decode: ascii,
    example: "uri:https://example.com/pump7",
  },
};

/** As given: `KIND:NAME`. */
export type AlternativeName = string;

/**
 * @param names at least one
 * @returns GeneralNames, DER
 * @throws ThornkeyError `USAGE`
 */
export function encodeAlternativeNames(names: readonly AlternativeName[]): Uint8Array {
  return encodeSchema(new GeneralNames(names.map(generalName)));
}

/** @throws ThornkeyError `USAGE` */
export function generalName(text: AlternativeName): GeneralName {
  const [, name = "", value = ""] = /^([A-Za-z]+):(.*)$/s.exec(text) ?? [];
  const kind = Object.hasOwn(KINDS, name.toLowerCase()) ? KINDS[name.toLowerCase()] : undefined;
  const examples = Object.values(KINDS).map(({ example }) => example);
  if (kind === undefined) {
    throw new ThornkeyError("USAGE", `'${text}' is no alternative name`, { hint: `write ${examples.join(", ")}` });
  }
  const bytes = kind.encode(value);
  if (bytes === undefined) {
    throw new ThornkeyError("USAGE", `'${value}' is no ${name.toLowerCase()} name`, { hint: `write ${kind.example}` });
  }
  const written = kind === KINDS.ip ? addressText(bytes) : ascii(bytes);
  return new GeneralName({ [kind.field]: written });
}

/**
 * @param names GeneralNames, DER
 * @returns as they are written, and what has no such form as `directory:…`, `id:…`, `other:` and its bytes
 * @throws ThornkeyError `MALFORMED`
 */
export function readAlternativeNames(names: Uint8Array): AlternativeName[] {
  const fields = fieldsOf(only(TYPE.sequence, names));
  const found: string[] = [];
  while (fields.more) {
    const { tag, body } = fields.any();
    const [name, kind] = Object.entries(KINDS).find(([, { choice }]) => tag === (0x80 | choice)) ?? [];
    const text = kind?.decode(body);
    if (text !== undefined) found.push(`${name}:${text}`);
    else if (tag === 0xa4) found.push(`directory:${nameText(body)}`);
    else if (tag === 0x88) found.push(`id:${dottedOf(body)}`);
    else found.push(`other:${toHex(body)}`);
  }
  return found;
}

const MOST_URI = 2048;

/** RFC 1034, 3.5, with digits in front as RFC 1123 has it; RFC 6125's `*` as the whole first label. */
function dnsName(text: string): Uint8Array | undefined {
  const wild = text.startsWith("*.");
  const host = wild ? text.slice(2) : text;
  // What domainToASCII would leave out or decode is no name.
  const plain = /^[\p{L}\p{M}\p{N}._-]+$/u.test(host) ? asciiOf(host) : "";
  const label = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?";
  if (!new RegExp(`^${label}(?:\\.${label})*$`).test(plain) || plain.length > 253 || isIPv4(plain)) return undefined;
  return new TextEncoder().encode(wild ? `*.${plain}` : plain);
}

function asciiOf(host: string): string {
  return /^[\x21-\x7e]+$/.test(host) ? host : domainToASCII(host);
}

function mailbox(text: string): Uint8Array | undefined {
  const [, domain = ""] = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([^@]+)$/.exec(text) ?? [];
  if (domain.startsWith("*") || !/^[\x21-\x7e]+$/.test(domain) || dnsName(domain) === undefined) return undefined;
  return new TextEncoder().encode(text);
}

/** Absolute (RFC 3986), with something after the scheme, in ASCII. */
function uri(text: string): Uint8Array | undefined {
  const form = /^[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/;
  return form.test(text) && text.length <= MOST_URI && URL.canParse(text) ? new TextEncoder().encode(text) : undefined;
}

function address(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  if (!isIPv6(text) || text.includes("%")) return undefined;
  // URL writes the last two groups of a mapped address as numbers, too.
  const [head = "", tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return Uint8Array.from([...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]));
}

function addressText(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return undefined;
  const groups = toHex(bytes).match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}
