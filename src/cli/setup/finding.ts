/** What a search for hardware finds: one shape for all kinds, and one search in which none hides another. */
import { ThornkeyError } from "../../errors.ts";
import type { HostFiles } from "../../machine/host-files.ts";

export const KINDS = ["atecc", "tpm", "pkcs11", "pi"] as const;
export type Kind = (typeof KINDS)[number];

/** Hardware that answered. */
export interface Found {
  readonly kind: Kind;
  /** As `--root` takes it. */
  readonly root: string;
  /** Model and serial number. */
  readonly name: string;
  /** Whether a vault can be on it now, after `first`. */
  readonly usable: boolean;
  /** Whether it is hardware at all; a token in software protects nothing. */
  readonly hardware: boolean;
  /** Commands before the first start, for an administrator. */
  readonly first: readonly string[];
  /** What somebody should know. */
  readonly notes: readonly string[];
}

/** Something that was looked at and could not be used, or that is not there; and what to do. */
export interface Trouble {
  readonly kind: Kind;
  readonly says: string;
  readonly todo?: string | undefined;
}

export interface Search {
  readonly found: readonly Found[];
  readonly troubles: readonly Trouble[];
}

/** Where is looked. */
export interface Place {
  /** What tells which devices there are: names in /dev, and /sys. The devices themselves are opened at their own path. */
  readonly host: HostFiles;
  /** Process of a vault that runs, and owns its hardware. */
  readonly vault: number | undefined;
  /** Buses to look at whatever they are for, beside those that are for chips. */
  readonly buses: readonly string[];
}

export interface Finder {
  readonly kind: Kind;
  /** Milliseconds after which it is given up. */
  readonly longest: number;
  look(place: Place): Promise<Search>;
}

/** All at the same time. What one finds is shown whatever becomes of the others. */
export async function search(finders: readonly Finder[], place: Place): Promise<Search> {
  const searches = await Promise.all(finders.map((finder) => inTime(finder, place)));
  return {
    found: searches.flatMap(({ found }) => found),
    troubles: searches.flatMap(({ troubles }) => troubles),
  };
}

async function inTime({ kind, longest, look }: Finder, place: Place): Promise<Search> {
  let limit: NodeJS.Timeout | undefined;
  const late = new Promise<Search>((resolve) => {
    limit = setTimeout(() => {
      resolve({
        found: [],
        troubles: [{ kind, says: `did not answer within ${longest / 1000} s`, todo: "try again" }],
      });
    }, longest);
  });
  try {
    return await Promise.race([look(place), late]);
  } catch (error) {
    return { found: [], troubles: [troubleFrom(kind, error)] };
  } finally {
    clearTimeout(limit);
  }
}

/** @param todo where the error itself knows none */
export function troubleFrom(kind: Kind, error: unknown, todo?: string): Trouble {
  const known = error instanceof ThornkeyError ? error : undefined;
  const says = error instanceof Error ? error.message : String(error);
  return { kind, says: says.replace(/\.$/, ""), todo: known?.hint ?? todo };
}
