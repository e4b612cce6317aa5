import { ThornkeyError } from "../../errors.ts";

/**
 * Where a token is: a module and what tells its token from others, by the names of RFC 7512. What is not said fits any.
 */
export interface Pkcs11Location {
  /** Of the shared library, absolute. */
  readonly module: string;
  /** Label. */
  readonly token?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  readonly serial?: string | undefined;
  readonly slotId?: number | undefined;
  /** A file with the PIN, absolute. */
  readonly pinSource?: string | undefined;
  /** CKA_ID of keys that are there already and are to be used where we would make our own, hexadecimal. */
  readonly deriveId?: string | undefined;
  readonly evidenceId?: string | undefined;
}

type Name = Exclude<keyof Pkcs11Location, "module">;

/** Attributes of the query part, as they are written; those with `x-` are ours (RFC 7512, 2.3: vendor-specific). */
const ATTRIBUTES: readonly (readonly [written: string, name: Name])[] = [
  ["token", "token"],
  ["manufacturer", "manufacturer"],
  ["model", "model"],
  ["serial", "serial"],
  ["slot-id", "slotId"],
  ["pin-source", "pinSource"],
  ["x-derive-id", "deriveId"],
  ["x-evidence-id", "evidenceId"],
];

/** What would put a secret where everybody sees it. */
const SECRET = new Set(["pin-value"]);

const FORM = "say pkcs11:/path/module.so?token=LABEL&pin-source=file:/path";

/**
 * Reads a root specification of the kind `pkcs11` (interfaces: `pkcs11:/path/module.so?token=LABEL&pin-source=file:/path`).
 * Values are percent-encoded as in RFC 7512, 2.3.
 *
 * @throws ThornkeyError `USAGE`
 */
export function parsePkcs11Location(specification: string): Pkcs11Location {
  const match = /^pkcs11:(?<path>\/[^?]*)(?:\?(?<query>.*))?$/s.exec(specification);
  const { path, query = "" } = match?.groups ?? {};
  // What does not parse may hold a PIN, and is not shown.
  if (path === undefined) throw usage("that is not where a PKCS#11 token is");
  const location: { -readonly [Key in Name]?: string | number } = {};
  for (const pair of query === "" ? [] : query.split("&")) {
    const [written = "", ...rest] = pair.split("=");
    if (SECRET.has(written)) {
      throw usage("a PIN does not belong into a root specification, which others can read", {
        hint: "put it into a file that only this user reads, and say pin-source=file:/path",
      });
    }
    const name = ATTRIBUTES.find(([one]) => one === written)?.[1];
    if (name === undefined || rest.length === 0) {
      throw usage(`a PKCS#11 root has no attribute '${shown(written)}'`, {
        hint: `there are ${ATTRIBUTES.map(([one]) => one).join(", ")}`,
      });
    }
    if (location[name] !== undefined) throw usage(`'${written}' is said twice`);
    location[name] = PARSED[name](decoded(rest.join("="), written));
  }
  return { module: decoded(path, "path"), ...location } as Pkcs11Location;
}

/** The specification a location was read from, in its one form. */
export function formatPkcs11Location(location: Pkcs11Location): string {
  const pairs = ATTRIBUTES.flatMap(([written, name]) => {
    const value = location[name];
    if (value === undefined) return [];
    return [`${written}=${encoded(name === "pinSource" ? `file:${value}` : `${value}`)}`];
  });
  return `pkcs11:${encoded(location.module)}${pairs.length > 0 ? `?${pairs.join("&")}` : ""}`;
}

/** For sentences: what the location says, without where the PIN is. */
export function nameOf(location: Pkcs11Location): string {
  if (location.token !== undefined) return `the token '${location.token}'`;
  return `the token ${formatPkcs11Location({ ...location, pinSource: undefined })}`;
}

const text = (value: string) => {
  if (value === "" || [...value].some((one) => one < " ")) throw usage("an attribute of a PKCS#11 root is empty");
  return value;
};

const id = (value: string) => {
  if (!/^(?:[0-9a-f]{2}){1,64}$/i.test(value)) throw usage(`'${shown(value)}' is not a CKA_ID in hexadecimal`);
  return value.toLowerCase();
};

const PARSED: { readonly [Key in Name]: (value: string) => string | number } = {
  token: text,
  manufacturer: text,
  model: text,
  serial: text,
  slotId(value) {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!Number.isSafeInteger(number)) throw usage(`'${shown(value)}' is not the number of a slot`);
    return number;
  },
  pinSource(value) {
    const path = /^(?:file:(?:\/\/(?=\/))?)?(\/.*)$/s.exec(value)?.[1];
    if (path === undefined) throw usage("pin-source is not a file", { hint: "say pin-source=file:/path" });
    return text(path);
  },
  deriveId: id,
  evidenceId: id,
};

/** pk11-pchar and pk11-qchar (RFC 7512, 2.3) without `&`, which ends an attribute, and `%`. */
const PLAIN = /[A-Za-z0-9\-._~:[\]@!$'()*+,=/]/;

function encoded(value: string): string {
  return [...value]
    .map((one) => {
      if (PLAIN.test(one)) return one;
      return [...new TextEncoder().encode(one)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
    })
    .join("");
}

function decoded(value: string, name: string): string {
  if (/%(?![0-9a-fA-F]{2})/.test(value)) {
    throw usage(`'${name}' is not percent-encoded`, { hint: "a percent sign itself is %25 (RFC 7512)" });
  }
  try {
    return decodeURIComponent(value);
  } catch {
    throw usage(`'${name}' is not UTF-8`);
  }
}

function shown(value: string): string {
  return value.slice(0, 40).replaceAll(/[^\x21-\x7e]/g, "?");
}

function usage(sentence: string, { hint = FORM }: { hint?: string } = {}): ThornkeyError {
  return new ThornkeyError("USAGE", sentence, { hint });
}
