/**
 * Distinguished names: as people write them (RFC 4514, and OpenSSL's /C=…/CN=…), and as certificates have them (RFC 5280,
 * 4.1.2.4). In RFC 4514 the most significant part stands last, in a certificate and in OpenSSL's form first.
 */
import { AttributeTypeAndValue, AttributeValue, Name, RelativeDistinguishedName } from "@peculiar/asn1-x509";
import { fromHex, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { dottedOf, fieldsOf, isDotted, only, TYPE } from "./der.ts";
import { bufferOf, encodeSchema } from "./schema.ts";

interface AttributeForm {
  readonly oid: string;
  /** RFC 5280 has some as PrintableString or IA5String; all others are written as UTF-8. */
  readonly type: "utf8" | "printable" | "ia5";
  /** Characters at most (RFC 5280, A.1: upper bounds). */
  readonly most: number;
}

/** The first name of an attribute is the one it is shown with. */
const ATTRIBUTES: { readonly [name: string]: AttributeForm } = {
  CN: { oid: "2.5.4.3", type: "utf8", most: 64 },
  SN: { oid: "2.5.4.4", type: "utf8", most: 64 },
  serialNumber: { oid: "2.5.4.5", type: "printable", most: 64 },
  C: { oid: "2.5.4.6", type: "printable", most: 2 },
  L: { oid: "2.5.4.7", type: "utf8", most: 128 },
  ST: { oid: "2.5.4.8", type: "utf8", most: 128 },
  STREET: { oid: "2.5.4.9", type: "utf8", most: 128 },
  O: { oid: "2.5.4.10", type: "utf8", most: 64 },
  OU: { oid: "2.5.4.11", type: "utf8", most: 64 },
  title: { oid: "2.5.4.12", type: "utf8", most: 64 },
  GN: { oid: "2.5.4.42", type: "utf8", most: 64 },
  dnQualifier: { oid: "2.5.4.46", type: "printable", most: 64 },
  DC: { oid: "0.9.2342.19200300.100.1.25", type: "ia5", most: 63 },
  UID: { oid: "0.9.2342.19200300.100.1.1", type: "utf8", most: 256 },
  emailAddress: { oid: "1.2.840.113549.1.9.1", type: "ia5", most: 255 },
  commonName: { oid: "2.5.4.3", type: "utf8", most: 64 },
  surname: { oid: "2.5.4.4", type: "utf8", most: 64 },
  countryName: { oid: "2.5.4.6", type: "printable", most: 2 },
  localityName: { oid: "2.5.4.7", type: "utf8", most: 128 },
  stateOrProvinceName: { oid: "2.5.4.8", type: "utf8", most: 128 },
  organizationName: { oid: "2.5.4.10", type: "utf8", most: 64 },
  organizationalUnitName: { oid: "2.5.4.11", type: "utf8", most: 64 },
  givenName: { oid: "2.5.4.42", type: "utf8", most: 64 },
  domainComponent: { oid: "0.9.2342.19200300.100.1.25", type: "ia5", most: 63 },
  userId: { oid: "0.9.2342.19200300.100.1.1", type: "utf8", most: 256 },
  E: { oid: "1.2.840.113549.1.9.1", type: "ia5", most: 255 },
};

const ALPHABETS = {
  printable: { pattern: /^[A-Za-z0-9 '()+,\-./:=?]*$/, words: "letters, digits, space and '()+,-./:=?" },
  ia5: { pattern: /^[ -~]*$/, words: "ASCII" },
  utf8: { pattern: /^[^\p{Cc}\p{Cs}]*$/u, words: "text without control characters" },
} as const;

/** A value, or one that is written as `#` and the digits of its DER. */
interface Attribute {
  readonly type: string;
  readonly value: string | Uint8Array;
}

/** The sets of attributes, most significant first. */
export type DistinguishedName = readonly (readonly Attribute[])[];

/**
 * @param text `CN=pump 7,O=Acme\, Inc.,C=DE`, or `/C=DE/O=Acme, Inc./CN=pump 7`
 * @returns Name, DER
 * @throws ThornkeyError `USAGE` with what is wrong
 */
export function encodeName(text: string): Uint8Array {
  const name = text.startsWith("/") ? readSlashes(text) : readCommas(text);
  return encodeSchema(new Name(name.map((attributes) => new RelativeDistinguishedName(sorted(attributes)))));
}

/** SET OF: in the order of their encodings (X.690, 11.6). */
function sorted(attributes: readonly Attribute[]): AttributeTypeAndValue[] {
  return attributes
    .map(attributeSchema)
    .map((schema) => ({ schema, der: encodeSchema(schema) }))
    .sort((a, b) => Buffer.compare(a.der, b.der))
    .map(({ schema }) => schema);
}

/** @param name Name, DER. @returns it as RFC 4514 writes it. @throws ThornkeyError `MALFORMED` */
export function nameText(name: Uint8Array): string {
  const parts = readName(name).map((attributes) =>
    attributes
      .map(({ type, value }) => `${SHOWN.get(type) ?? type}=${typeof value === "string" ? escaped(value) : hex(value)}`)
      .join("+"),
  );
  return parts.reverse().join(",");
}

/** @param name Name, DER. @throws ThornkeyError `MALFORMED` */
export function readName(name: Uint8Array): DistinguishedName {
  const sets = fieldsOf(only(TYPE.sequence, name));
  const found: Attribute[][] = [];
  while (sets.more) {
    const members = fieldsOf(sets.next(TYPE.set));
    const attributes: Attribute[] = [];
    while (members.more) {
      const fields = fieldsOf(members.next(TYPE.sequence));
      const type = dottedOf(fields.next(TYPE.oid));
      const whole = fields.whole();
      fields.end();
      attributes.push({ type, value: stringIn(whole) ?? whole });
    }
    if (attributes.length === 0) throw new ThornkeyError("MALFORMED", "a name with an empty part");
    found.push(attributes);
  }
  return found;
}

const SHOWN = new Map<string, string>();
for (const [name, form] of Object.entries(ATTRIBUTES)) if (!SHOWN.has(form.oid)) SHOWN.set(form.oid, name);

const BY_NAME = new Map(Object.entries(ATTRIBUTES).map(([name, form]) => [name.toLowerCase(), form]));
const BY_OID = new Map([...SHOWN].map(([dotted, name]) => [dotted, ATTRIBUTES[name]]));

const FIELDS = { utf8: "utf8String", printable: "printableString", ia5: "ia5String" } as const;

function attributeSchema({ type, value }: Attribute): AttributeTypeAndValue {
  const form = BY_OID.get(type);
  if (typeof value !== "string") {
    return new AttributeTypeAndValue({ type, value: new AttributeValue({ anyValue: bufferOf(value) }) });
  }
  const alphabet = form?.type ?? "utf8";
  const { pattern, words } = ALPHABETS[alphabet];
  const name = SHOWN.get(type) ?? type;
  const most = form?.most ?? 32_768;
  if (value === "") throw usage(`${name} is empty`);
  if (!pattern.test(value)) throw usage(`${name} may have ${words} only`);
  if ([...value].length > most) throw usage(`${name} has more than ${most} characters`);
  if (name === "C" && !/^[A-Za-z]{2}$/.test(value)) throw usage("C is a country's two letters");
  return new AttributeTypeAndValue({ type, value: new AttributeValue({ [FIELDS[alphabet]]: value }) });
}

function typeOf(text: string): string {
  const name = text.trim();
  const form = BY_NAME.get(name.toLowerCase());
  if (form !== undefined) return form.oid;
  const dotted = name.replace(/^oid\./i, "");
  if (isDotted(dotted)) return dotted;
  throw usage(`there is no attribute '${name}'`, `known are ${[...SHOWN.values()].join(", ")}, and numbers as 2.5.4.3`);
}

/** OpenSSL's `-subj`: a backslash takes the next character as it is; `+` joins attributes to one part. */
function readSlashes(text: string): DistinguishedName {
  const parts: Attribute[][] = [];
  for (const [separator, piece] of pieces(text.slice(1), "/+", false)) {
    const attribute = attributeIn(piece, (value) => value.replaceAll(/\\(.)/gsu, "$1"));
    if (separator === "+") parts.at(-1)?.push(attribute);
    else parts.push([attribute]);
  }
  return parts;
}

/** RFC 4514, 3; quoted values (RFC 2253) are taken too. */
function readCommas(text: string): DistinguishedName {
  const parts: Attribute[][] = [];
  if (text.trim() === "") return parts;
  for (const [separator, piece] of pieces(text, ",+;", true)) {
    const attribute = attributeIn(piece, unescaped);
    if (separator === "+") parts.at(-1)?.push(attribute);
    else parts.push([attribute]);
  }
  return parts.reverse();
}

function attributeIn(piece: string, decode: (value: string) => string): Attribute {
  const equals = piece.indexOf("=");
  if (equals < 0) throw usage(`'${piece}' is no NAME=VALUE`);
  const type = typeOf(piece.slice(0, equals));
  const raw = piece.slice(equals + 1).trimStart();
  if (raw.startsWith("#") && decode === unescaped) return { type, value: derIn(raw.trim().slice(1)) };
  return { type, value: decode(raw) };
}

/** Cuts at separators that are neither escaped nor in quotes. @returns what stood before each piece, and the piece */
function* pieces(text: string, separators: string, quotes: boolean): Generator<[string, string]> {
  let [start, quoted, before] = [0, false, ""];
  for (let index = 0; index <= text.length; index++) {
    const char = text[index];
    if (char === "\\") index++;
    else if (quotes && char === '"') quoted = !quoted;
    else if (char === undefined || (!quoted && separators.includes(char))) {
      yield [before, text.slice(start, index)];
      [start, before] = [index + 1, char ?? ""];
    }
  }
  if (quoted) throw usage("a quote is not closed");
  if (start <= text.length) throw usage("it ends with a backslash");
}

function unescaped(raw: string): string {
  const value = raw.replace(/(?<!\\)((?:\\\\)*) +$/, "$1");
  const inner = /^"(.*)"$/su.exec(value)?.[1] ?? value;
  const bytes: Uint8Array[] = [];
  const encoder = new TextEncoder();
  for (const [all, pair, char, plain] of inner.matchAll(/\\([0-9A-Fa-f]{2})|\\(.)|([^\\]+)|\\$/gsu)) {
    if (all === "\\") throw usage("it ends with a backslash");
    bytes.push(pair === undefined ? encoder.encode(char ?? plain ?? "") : fromHex(pair));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(bytes));
  } catch (cause) {
    throw new ThornkeyError("USAGE", "the subject is not UTF-8", { cause });
  }
}

/** RFC 4514, 2.4. */
function escaped(value: string): string {
  return value
    .replaceAll(/[\\",+;<>]/g, "\\$&")
    .replaceAll(/\p{Cc}/gu, (char) =>
      [...new TextEncoder().encode(char)].map((b) => `\\${toHex(Uint8Array.of(b))}`).join(""),
    )
    .replace(/^[ #]/, "\\$&")
    .replace(/(?<=.) $/s, "\\ ");
}

function hex(der: Uint8Array): string {
  return `#${toHex(der)}`;
}

function derIn(digits: string): Uint8Array {
  try {
    const der = fromHex(digits);
    const fields = fieldsOf(der);
    fields.any();
    fields.end();
    return der;
  } catch (cause) {
    throw new ThornkeyError("USAGE", `'#${digits}' is no value in DER`, { cause });
  }
}

/** The string types of names: T61 and Universal strings are shown as their bytes. */
const DECODERS: { readonly [tag: number]: string } = {
  [TYPE.utf8]: "utf-8",
  [TYPE.printable]: "utf-8",
  [TYPE.ia5]: "utf-8",
  30: "utf-16be",
};

function stringIn(whole: Uint8Array): string | undefined {
  const { tag, body } = fieldsOf(whole).any();
  const encoding = DECODERS[tag];
  if (encoding === undefined) return undefined;
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return undefined;
  }
}

function usage(sentence: string, hint?: string): ThornkeyError {
  return new ThornkeyError("USAGE", `in the subject: ${sentence}`, {
    hint: hint ?? "write CN=pump 7,O=Acme,C=DE or /C=DE/O=Acme/CN=pump 7",
  });
}
