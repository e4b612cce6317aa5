/**
 * Who is asking, and the words in which a policy names callers.
 *
 *     uid:1000                              gid:33
 *     program:/usr/sbin/nginx               program-sha256:<64 hexadecimal digits>
 *     unit:nginx.service                    front:http
 *     any                                   uid:33+program:/usr/sbin/apache2   (all of them at once)
 */
import { ThornkeyError } from "../errors.ts";

/** A caller as the kernel tells of it; the gate passes it on. */
export interface CallerFacts {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly pid: number;
  /** The protocol it came by. */
  readonly front: string;
  /** Path of its executable, where it could be read. */
  readonly program?: string | undefined;
  /** The systemd unit it runs in. */
  readonly unit?: string | undefined;
}

const TERMS = {
  uid: /^(0|[1-9][0-9]{0,9})$/,
  gid: /^(0|[1-9][0-9]{0,9})$/,
  program: /^\/[^+\0]{1,254}$/,
  "program-sha256": /^[0-9a-f]{64}$/,
  unit: /^[A-Za-z0-9:_.@\\-]{1,128}$/,
  front: /^[a-z0-9-]{1,32}$/,
} as const;

type TermName = keyof typeof TERMS;

export interface WhoTerm {
  readonly name: TermName;
  readonly value: string;
}

/** All terms must hold; no term at all is `any`. */
export type Who = readonly WhoTerm[];

export const WHO_PATTERN = /^[\x20-\x7e]{1,600}$/;

/** @throws ThornkeyError `USAGE` */
export function parseWho(text: string): Who {
  if (text === "any") return [];
  const terms = text.split("+").map((part): WhoTerm => {
    const colon = part.indexOf(":");
    const [name, value] = [part.slice(0, colon), part.slice(colon + 1)];
    if (colon < 0 || !isTerm(name) || !TERMS[name].test(value)) {
      throw new ThornkeyError("USAGE", `'${part.slice(0, 80)}' names no caller`, {
        hint: `write any, or ${Object.keys(TERMS).join(":…, ")}:…, joined by + where all must hold`,
      });
    }
    return { name, value };
  });
  return terms;
}

function isTerm(name: string): name is TermName {
  return Object.hasOwn(TERMS, name);
}

export function formatWho(who: Who): string {
  return who.length === 0 ? "any" : who.map(({ name, value }) => `${name}:${value}`).join("+");
}

/** @returns whether somebody must look at the program's file before {@link matches} can tell */
export function needsProgramHash(who: Who): boolean {
  return who.some(({ name }) => name === "program-sha256");
}

/**
 * @param programSha256 hexadecimal digest of the caller's executable; undefined when it is not known, which matches
 *   nothing
 */
export function matches(who: Who, caller: CallerFacts, programSha256: string | undefined): boolean {
  return who.every((term) => matchesTerm(term, caller, programSha256));
}

function matchesTerm({ name, value }: WhoTerm, caller: CallerFacts, programSha256: string | undefined): boolean {
  switch (name) {
    case "uid":
      return caller.uid === Number(value);
    case "gid":
      return caller.gid === Number(value) || caller.groups.includes(Number(value));
    case "program":
      return caller.program === value;
    case "program-sha256":
      return programSha256 === value;
    case "unit":
      return caller.unit === value;
    case "front":
      return caller.front === value;
  }
}
