/** What a check of `thornkey doctor` says, and what it looks at. */
import type { HostFiles } from "../../machine/host-files.ts";
import type { RootLockout, VaultStatus } from "../../operations/table.ts";

export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly check: string;
  readonly level: Level;
  readonly what: string;
  /** What to do about it; for what is not ok. */
  readonly todo?: string | undefined;
}

/** Everything a check may look at. */
export interface Patient {
  /** Directories of state and sockets. */
  readonly state: string;
  readonly run: string;
  /** Root specification, when one was given. */
  readonly root: string | undefined;
  /** /proc, /sys and /etc of the host. */
  readonly host: HostFiles;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Process that holds the state's lock. */
  readonly holder: number | undefined;
  /** What a running vault says of itself. */
  readonly status: VaultStatus | undefined;
  /** Why it could not be asked. */
  readonly silence: Error | undefined;
  /** The hardware in the state's header; nothing when it cannot be read. */
  readonly parts: readonly StatePart[];
  /** What a running vault says of its hardware's defence against guessing, when it tells us. */
  readonly lockouts: readonly RootLockout[];
}

/** Hardware a state is on. */
export interface StatePart {
  readonly kind: string;
  readonly serial: string;
  readonly specification?: string | undefined;
}

export interface Check {
  readonly name: string;
  /** @returns nothing when it does not apply */
  look(patient: Patient): Said | readonly Said[] | undefined | Promise<Said | readonly Said[] | undefined>;
}

export type Said = Omit<Finding, "check">;

export function ok(what: string): Said {
  return { level: "ok", what };
}

export function warn(what: string, todo: string): Said {
  return { level: "warn", what, todo };
}

export function fail(what: string, todo: string): Said {
  return { level: "fail", what, todo };
}
