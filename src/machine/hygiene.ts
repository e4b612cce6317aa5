/**
 * What a process that holds secrets, or stands before one, does first: nobody but root looks into its memory
 * (prctl(2), ptrace(2), core(5)). What it cannot do: keep root out, keep memory from being swapped. All of Node's
 * memory cannot be locked (mlockall makes V8 abort); the unit forbids swapping instead.
 */
import { readFileSync, statSync } from "node:fs";
import inspector from "node:inspector";
import { ThornkeyError } from "../errors.ts";
import { errnoName, libc } from "./libc.ts";

const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const RLIMIT_CORE = 4;

/**
 * Options that such a process is started with. None of them is needed for {@link hardenProcess} to hold; they close
 * what is open between its start and that call, and what it cannot reach.
 *
 * - SIGUSR1 does not open the debugger (Node blocks it; a handler never sees it);
 * - `__proto__` in foreign data cannot reach a prototype;
 * - no module is loaded from `NODE_PATH` or from a home directory.
 */
export const HARDENED_NODE_FLAGS = ["--disable-sigusr1", "--disable-proto=throw", "--no-global-search-paths"] as const;

/** Options by which Node shows its memory to somebody, or writes it to a file. */
const REVEALING =
  /^--(?:inspect(?!-port|-publish)|heap[-_]?(?:snapshot|prof)|report[-_](?:on|uncaught)|build-snapshot)/;

/** One thing that was done, for `doctor`. */
export interface Measure {
  readonly name: string;
  /** For a person. */
  readonly title: string;
}

const MEASURES: readonly (Measure & { apply(): boolean })[] = [
  {
    name: "dumpable",
    title: "no other process of this user reads its memory or traces it",
    apply: () => libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) === 0,
  },
  {
    name: "no-new-privileges",
    title: "nothing it starts gets more rights than it has",
    apply: () => libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) === 0,
  },
  {
    name: "core",
    title: "no core dumps",
    // Two zeros: long enough for every size of a C long.
    apply: () => libc().setrlimit(RLIMIT_CORE, new Uint8Array(16)) === 0,
  },
  {
    name: "umask",
    title: "what it writes is readable for itself only",
    apply: () => process.umask(0o077) >= 0,
  },
  {
    name: "debugger",
    title: "SIGUSR1 opens no debugger",
    // Node opens its debugger on this signal only while nobody handles it.
    apply: () => process.on("SIGUSR1", ignore).listenerCount("SIGUSR1", ignore) > 0,
  },
];

/**
 * Makes the process unreadable for others of the same user. Must be the first thing it does; what somebody read before
 * is lost. May be repeated.
 *
 * @param options.title what `ps` shows; the command line may tell more than others need to know
 * @returns what was done
 * @throws ThornkeyError `NOT_PERMITTED` when somebody can look into it already: a debugger is open, or Node was started
 *   with an option that shows its memory, or with NODE_OPTIONS, which can load anything; `FAILED` when one of the
 *   measures failed
 */
export function hardenProcess(options: { title?: string } = {}): readonly Measure[] {
  refuseWhenOpen();
  process.removeListener("SIGUSR1", ignore);
  for (const { name, apply } of MEASURES) {
    if (apply()) continue;
    throw new ThornkeyError("FAILED", `the process cannot be hardened (${name}: ${errnoName(libc().errno())})`);
  }
  if (options.title !== undefined) process.title = options.title;
  return MEASURES.map(({ name, title }) => ({ name, title }));
}

function ignore(): void {}

function refuseWhenOpen(): void {
  const revealing = process.execArgv.find((argument) => REVEALING.test(argument));
  const why =
    inspector.url() !== undefined
      ? "a debugger is open"
      : revealing !== undefined
        ? `Node was started with ${revealing}`
        : process.env.NODE_OPTIONS
          ? "NODE_OPTIONS is set"
          : undefined;
  if (why === undefined) return;
  throw new ThornkeyError("NOT_PERMITTED", `${why}: others could read every key in this process`, {
    hint: "start it without that option, and with NODE_OPTIONS unset",
  });
}

/**
 * Whether a running process is hardened, seen from outside.
 *
 * @param proc the directory that is `/proc`
 * @returns undefined when it cannot be told: there is no such process, or it runs as root, whose memory only root may
 *   read anyhow
 */
export function isHardened(pid: number, proc = "/proc"): boolean | undefined {
  try {
    const status = readFileSync(`${proc}/${pid}/status`, "latin1");
    const limits = readFileSync(`${proc}/${pid}/limits`, "latin1");
    if (!/^NoNewPrivs:\s+1$/m.test(status) || !/^Max core file size\s+0\s+0\s/m.test(limits)) return false;
    const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
    if (uid === undefined || uid === "0") return undefined;
    // The files of a process that is not dumpable belong to root (proc(5)).
    return statSync(`${proc}/${pid}/environ`).uid !== Number(uid);
  } catch {
    return undefined;
  }
}
