/** The state on the disk, looked at from outside: nothing in it is opened, and nothing is changed. */
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { decodeStrictly } from "../../operations/protocol.ts";
import { type Check, fail, ok, type Patient, type Said, type StatePart, warn } from "./finding.ts";
import { lookIntoDatabase } from "./state-database.ts";

/** statfs(2): kinds of file systems that are no place for a state. */
const KINDS: { readonly [magic: number]: readonly [string, string] } = {
  16914836: ["tmpfs", "all keys are gone with the next start of the device: --state names a place on a disk"],
  2240043254: ["ramfs", "all keys are gone with the next start of the device: --state names a place on a disk"],
  26985: ["NFS", "locks and loss of power are not sure there: --state names a place on a disk of this device"],
  4283649346: ["CIFS", "locks and loss of power are not sure there: --state names a place on a disk of this device"],
  4266872130: ["SMB", "locks and loss of power are not sure there: --state names a place on a disk of this device"],
  16914839: ["9p", "locks and loss of power are not sure there: --state names a place on a disk of this device"],
  1702057286: ["FUSE", "is it sure that what is written there survives loss of power?"],
  2035054128: ["overlayfs", "is its upper layer on a disk? Otherwise all keys are gone with the next start"],
};

/** Bytes: below the first nothing works, below the second a repair does not. */
const ROOM = { least: 1 << 20, good: 32 << 20 } as const;
const DAY = 86_400_000;

const there = (check: (patient: Patient) => ReturnType<Check["look"]>): Check["look"] => {
  return (patient) => (existsSync(patient.state) ? check(patient) : undefined);
};

export const STATE_CHECKS: readonly Check[] = [
  {
    name: "state",
    look({ state }) {
      if (!existsSync(state))
        return warn(`there is no state in ${state}`, "'thornkey up' makes one; --state names another");
      return existsSync(join(state, "vault.db")) || existsSync(join(state, "header.copy"))
        ? ok(`a state in ${state}`)
        : warn(`no vault was made in ${state} yet`, "'thornkey up' makes one");
    },
  },
  { name: "state-access", look: there(({ state }) => accessTo(state)) },
  {
    name: "state-writable",
    look: there(({ state }) => {
      try {
        accessSync(state, constants.W_OK);
        return ok("its file system can be written");
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === "EROFS"
          ? fail(`the file system of ${state} is read-only`, "mount it for writing; a state cannot be opened without")
          : warn(`you may not write to ${state}`, "run this as root or as the vault's user, to see more");
      }
    }),
  },
  {
    name: "state-medium",
    look: there(({ state }) => {
      const [name, todo] = KINDS[statfsSync(state).type >>> 0] ?? [];
      return name === undefined || todo === undefined ? ok("it lies on a disk") : warn(`it lies on ${name}`, todo);
    }),
  },
  {
    name: "space",
    look: there(({ state }) => {
      const { bavail, bsize } = statfsSync(state);
      const free = bavail * bsize;
      const text = `${Math.floor(free / (1 << 20))} MiB are free for the state`;
      if (free < ROOM.least) return fail(text, "make room: nothing can be changed on a full disk");
      return free < ROOM.good ? warn(text, "make room: a repair needs twice the space of the state") : ok(text);
    }),
  },
  {
    name: "destroyed",
    look: there(({ state }) => {
      const path = join(state, "destroyed");
      if (!existsSync(path)) return undefined;
      const { done = true, reason = "" } = parsed(path) as { done?: boolean; reason?: string };
      return done
        ? fail(
            `this vault was destroyed: ${reason}`,
            "for a new one take another directory, with roots/ of this one in it",
          )
        : fail(
            "a destruction began and is not finished",
            "start the vault once with its root, which then overwrites its keys",
          );
    }),
  },
  {
    name: "header",
    look: there(({ state, now }) => {
      const path = join(state, "header.copy");
      if (!existsSync(path)) return undefined;
      const header = headerIn(path);
      if (header === undefined) {
        return existsSync(join(state, "destroyed"))
          ? undefined
          : warn(
              "the second copy of the header is damaged",
              "the next start of the vault writes it anew; or 'thornkey repair'",
            );
      }
      const ahead = header.created - now > DAY;
      return [
        header.stage === "sealing"
          ? warn(
              "sealing began and is not confirmed",
              "'thornkey bind confirm' with the recovery key; or 'thornkey bind undo'",
            )
          : ok(`the vault ${header.device}, ${header.stage === "sealed" ? "sealed" : "in development"}`),
        ...(ahead ? [fail("the state was made in the future", "set the clock: policies with dates depend on it")] : []),
      ];
    }),
  },
  { name: "database", look: there(lookIntoDatabase) },
  {
    name: "transport-key",
    look: there(({ state, parts }) =>
      parts.flatMap(({ kind, serial }) =>
        kind === "atecc" ? lookAtRootFile(state, serial, "transport", "warn", TRANSPORT) : [],
      ),
    ),
  },
  {
    name: "tpm-file",
    look: there(({ state, parts }) =>
      parts.flatMap(({ kind, serial }) =>
        kind === "tpm" ? lookAtRootFile(state, serial, "tpm", "fail", SEALED_BY_TPM) : [],
      ),
    ),
  },
  {
    name: "repair",
    look: there(({ state }) => {
      const said: Said[] = [];
      const names = readable(state);
      if (names.includes("vault.db.repaired")) {
        said.push(
          warn(
            "a repair was interrupted after it was complete",
            "the next start, or 'thornkey repair', puts it into place",
          ),
        );
      }
      if (names.includes("vault.db.repairing")) {
        said.push(warn("a repair was interrupted", "run 'thornkey repair' again, or remove vault.db.repairing"));
      }
      const old = names.filter((name) => name.startsWith("damaged-"));
      if (old.length > 0) {
        said.push(
          warn(`${old.join(", ")}: states from before a repair`, "remove them when nothing of them is missed any more"),
        );
      }
      return said;
    }),
  },
];

const TRANSPORT = {
  what: "the transport key",
  todo: "a root that thornkey provisioned opens no store without: put it back as roots/SERIAL.transport",
};
const SEALED_BY_TPM = {
  what: "what the TPM sealed for this state",
  todo: "put back a copy of roots/SERIAL.tpm; without it nothing of the state opens",
};

/** @param missing how bad it is when it is */
function lookAtRootFile(
  state: string,
  serial: string,
  ending: string,
  missing: "warn" | "fail",
  { what, todo }: { readonly what: string; readonly todo: string },
): Said {
  const path = join(state, "roots", `${serial}.${ending}`);
  const mode = statSync(path, { throwIfNoEntry: false })?.mode;
  if (mode === undefined) return { level: missing, what: `${what} of root ${serial} is not in roots/`, todo };
  return mode & 0o077 ? fail(`others may read ${path}`, `chmod 600 ${path}`) : ok(`${what} of root ${serial} is there`);
}

function accessTo(state: string): Said | readonly Said[] {
  const own = process.geteuid?.() ?? 0;
  const said: Said[] = [];
  const owner = statSync(state).uid;
  for (const path of [state, ...readable(state).map((name) => join(state, name))]) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (stats.mode & 0o077) said.push(fail(`others may look into ${path}`, `chmod go= ${path}`));
    if (stats.uid !== owner) said.push(fail(`${path} does not belong to who owns the state`, `chown ${owner} ${path}`));
  }
  if (owner !== own && own !== 0)
    said.push(warn(`${state} belongs to uid ${owner}`, "run this as that user or as root, to see more"));
  return said.length > 0 ? said.slice(0, 20) : ok(`only uid ${owner} looks into it`);
}

/** What the header says in clear. */
export interface ClearHeader {
  readonly stage: string;
  readonly device: string;
  readonly created: number;
  readonly parts: readonly StatePart[];
}

/** @returns undefined when it cannot be read */
export function headerIn(path: string): ClearHeader | undefined {
  try {
    return headerOf(readFileSync(path));
  } catch {
    return undefined;
  }
}

export function headerOf(bytes: Uint8Array): ClearHeader | undefined {
  try {
    const header = decodeStrictly(new Uint8Array(bytes)) as {
      readonly [field: string]: unknown;
      readonly root?: { readonly composition?: { readonly parts?: unknown } };
    };
    const { stage, device, created, root } = header;
    const parts = root?.composition === undefined ? [root] : root.composition.parts;
    const whole =
      typeof stage === "string" &&
      typeof device === "string" &&
      typeof created === "number" &&
      Array.isArray(parts) &&
      parts.every(isPart);
    return whole ? { stage, device, created, parts } : undefined;
  } catch {
    return undefined;
  }
}

/** Its serial number becomes a part of paths. */
function isPart(part: unknown): part is StatePart {
  const { kind, serial, specification = "" } = (part ?? {}) as { readonly [field: string]: unknown };
  return (
    typeof kind === "string" &&
    typeof serial === "string" &&
    /^[^/\0]{1,200}$/.test(serial) &&
    typeof specification === "string"
  );
}

function parsed(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8")) ?? {};
  } catch {
    return {};
  }
}

function readable(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
