/** The vault that runs. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isHardened } from "../../machine/hygiene.ts";
import { type Check, fail, ok, warn } from "./finding.ts";

export const RUNNING_CHECKS: readonly Check[] = [
  {
    name: "sockets",
    look({ run, holder }) {
      const stats = statSync(run, { throwIfNoEntry: false });
      if (stats === undefined) {
        return holder === undefined
          ? ok(`no vault runs, and ${run} is not there`)
          : warn(`${run} is not there, and a vault runs`, "--run names the folder of its sockets");
      }
      if (stats.mode & 0o022) return fail(`others may put sockets of their own into ${run}`, `chmod go-w ${run}`);
      const missing = ["vault.sock", "api.sock"].filter((name) => !existsSync(join(run, name)));
      if (holder !== undefined && missing.length > 0) {
        return warn(
          `${missing.join(" and ")} is not in ${run}`,
          "is the gate running, and does --run name its folder?",
        );
      }
      return ok(`sockets in ${run}`);
    },
  },
  {
    name: "lock",
    look({ state, holder }) {
      if (!existsSync(state)) return undefined;
      return ok(holder === undefined ? "no vault has the state open" : `the vault is process ${holder}`);
    },
  },
  {
    name: "vault",
    look({ status, silence, holder }) {
      if (status === undefined) {
        return holder === undefined
          ? ok("the vault does not run")
          : warn(
              `the vault does not answer: ${silence?.message}`,
              "is the gate running, and does --run name its folder?",
            );
      }
      const { state, reason = "", hint = "" } = status;
      if (state === "operational") return ok("the vault is operational");
      return state === "frozen"
        ? warn(`the vault is frozen: ${reason}`, hint || "'thornkey thaw'")
        : fail(`the vault is ${state}: ${reason}`, hint || "'thornkey status' says more");
    },
  },
  {
    name: "process",
    look({ holder }) {
      if (holder === undefined) return undefined;
      const hardened = isHardened(holder);
      if (hardened === false) {
        return fail(
          "others of the vault's user can look into its process",
          "end it, and start it with 'thornkey up' or its unit",
        );
      }
      return ok(
        hardened
          ? "nobody but root looks into the vault's process"
          : "the vault runs as root, and only root looks into it",
      );
    },
  },
];

/**
 * Who holds a lock of flock(2), without touching it.
 *
 * @param locks what /proc/locks says
 * @returns its process; undefined when nobody holds it, or it cannot be told
 */
export function lockHolder(path: string, locks: string): number | undefined {
  const stats = statOf(path);
  if (stats === undefined) return undefined;
  const holders = locks.split("\n").flatMap((line) => {
    // "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF" (proc_locks(5)); waiting ones have an arrow.
    const match = /^\d+: FLOCK +ADVISORY +WRITE +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line);
    return match !== null && Number(match[2]) === stats.ino ? [Number(match[1])] : [];
  });
  if (holders.length <= 1) return holders[0];
  // Two file systems may have a file of this number: the one that wrote its own into it.
  const written = Number.parseInt(readFileSync(path, "latin1"), 10);
  return holders.find((pid) => pid === written);
}

/** @returns undefined also for what this user may not look at */
function statOf(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
