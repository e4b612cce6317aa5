/**
 * What a process that holds secrets, or stands before one, does first: nobody but root looks into its memory.
 */
import inspector from "node:inspector";
import { ThornkeyError } from "../errors.ts";
import { libc } from "./libc.ts";

const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const RLIMIT_CORE = 4;

/** Options of Node for such a process: SIGUSR1 would open its debugger. */
export const HARDENED_NODE_OPTIONS = ["--disable-sigusr1"] as const;

/**
 * Makes the process unreadable for others of the same user (no ptrace, no /proc/PID/mem), without core dumps and
 * without a debugger. Must be the first thing it does.
 *
 * @returns what holds now, for `doctor`
 * @throws ThornkeyError `NOT_PERMITTED` when a debugger is open already
 */
export function hardenProcess(): readonly string[] {
  process.umask(0o077);
  // Also where Node was started without the option: a signal that somebody handles opens nothing.
  process.on("SIGUSR1", () => {});
  if (inspector.url() !== undefined || process.execArgv.some((argument) => argument.startsWith("--inspect"))) {
    throw new ThornkeyError("NOT_PERMITTED", "a debugger is open: whoever connects to it reads every key", {
      hint: "start without --inspect",
    });
  }
  const { prctl, setrlimit } = libc();
  const done: string[] = [];
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) === 0) done.push("not dumpable");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) === 0) done.push("no new privileges");
  if (setrlimit(RLIMIT_CORE, new Uint8Array(16)) === 0) done.push("no core dumps");
  return [...done, "no debugger"];
}
