/** Root specifications as they are written: one root, `A+B`, `2of(A,B,C)`. */
import { ThornkeyError } from "../errors.ts";

export interface RootParts {
  /** Specifications of single roots. */
  readonly parts: readonly string[];
  /** So many of them must be there. */
  readonly needed: number;
}

/** Names of the kinds; a sign between two parts is one only when a kind follows. */
export const ROOT_KINDS = ["emulated", "atecc", "tpm", "pkcs11", "pi"] as const;
export type RootKindName = (typeof ROOT_KINDS)[number];

const KIND = `(?:${ROOT_KINDS.join("|")})(?::|(?=$|[?+,)]))`;
const START = new RegExp(`^${KIND}`);

/** @throws ThornkeyError `USAGE` */
export function parseRootParts(specification: string): RootParts {
  const threshold = /^(\d)of\((.+)\)$/.exec(specification);
  if (threshold !== null) {
    const [, needed = "", list = ""] = threshold;
    return whole({ parts: split(list, ","), needed: Number(needed) }, specification);
  }
  const parts = split(specification, "\\+");
  return whole({ parts, needed: parts.length }, specification);
}

function split(list: string, sign: string): string[] {
  return list.split(new RegExp(`${sign}(?=${KIND})`));
}

function whole(parts: RootParts, specification: string): RootParts {
  const known = parts.parts.every((part) => START.test(part) && part.length <= 1000);
  if (known && parts.needed >= 1 && parts.needed <= parts.parts.length) return parts;
  throw new ThornkeyError("USAGE", `'${specification.slice(0, 100)}' names no root`, {
    hint: "write emulated:FILE, atecc:/dev/i2c-1, tpm:/dev/tpmrm0, pkcs11:/path/module.so?token=LABEL, pi, or several: A+B, 2of(A,B,C)",
  });
}

/** @returns the kind of one root, as {@link parseRootParts} gives it. @throws ThornkeyError `USAGE` */
export function kindOfRoot(specification: string): RootKindName {
  const name = /^[a-z0-9]*/.exec(specification)?.[0];
  const kind = ROOT_KINDS.find((one) => one === name);
  if (kind === undefined) throw new ThornkeyError("USAGE", `'${specification.slice(0, 100)}' names no root`);
  return kind;
}

export function formatRootParts({ parts, needed }: RootParts): string {
  return needed === parts.length ? parts.join("+") : `${needed}of(${parts.join(",")})`;
}
