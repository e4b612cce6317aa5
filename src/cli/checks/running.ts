/** The vault that runs, and its hardware. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { isHardened } from "../../machine/hygiene.ts";
import { openChip } from "../../roots/atecc/chip.ts";
import { Random } from "../../roots/atecc/commands.ts";
import { readConfig } from "../../roots/atecc/conversations.ts";
import { startEmulatedChip } from "../../roots/atecc/emulated.ts";
import { type ChipLocation, parseChipLocation } from "../../roots/atecc/location.ts";
import { provisioningStage } from "../../roots/atecc/provision.ts";
import { type Check, fail, ok, type Patient, type Said, warn } from "./finding.ts";

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
  { name: "root", look: lookAtRoot },
];

/** A root that a vault uses is asked by the vault; one that nobody uses, by us. */
async function lookAtRoot({ root, status, holder, serial }: Patient): Promise<Said | readonly Said[]> {
  if (status !== undefined && status.roots.length > 0) {
    return status.roots.flatMap(({ name, model, serial: own, available, emulated, limits }) => [
      available
        ? ok(`${model} ${own} answers`)
        : fail(`${name} does not answer`, "is it connected, and is its bus on?"),
      ...(emulated ? [warn("the root is emulated: it protects nothing", "for development only")] : []),
      ...limits.map((limit) => warn(limit, "'thornkey chip info' says why")),
    ]);
  }
  if (holder !== undefined) return ok("the root belongs to the vault that runs");
  if (root === undefined) return ok("the root was not asked; --root names it");
  try {
    return await askRoot(root, serial);
  } catch (error) {
    if (!(error instanceof ThornkeyError)) throw error;
    return fail(`${root}: ${error.message}`, error.hint ?? "is it connected, and is its bus on?");
  }
}

async function askRoot(specification: string, serial: string | undefined): Promise<Said | readonly Said[]> {
  const memory = /^emulated:(.+)$/.exec(specification)?.[1];
  if (memory === undefined) return askChip(parseChipLocation(specification), serial, false);
  if (!existsSync(memory)) return warn(`there is no emulated chip in ${memory}`, "'thornkey up' makes one");
  const emulator = await startEmulatedChip(memory, { timing: "none" });
  try {
    return await askChip(emulator.location, serial, true);
  } finally {
    await emulator.close();
  }
}

async function askChip(
  location: ChipLocation,
  serial: string | undefined,
  emulated: boolean,
): Promise<readonly Said[]> {
  const chip = await openChip(location);
  try {
    const own = toHex(chip.serial);
    const stage = provisioningStage(await readConfig(chip));
    if (stage !== "done" && stage !== "foreign") {
      return [warn(`the secure element ${own} is not provisioned`, "'thornkey chip provision', once and for ever")];
    }
    const [one, other] = await chip.run(Random(), Random());
    const said: Said[] = [
      toHex(one) === toHex(other)
        ? fail("the secure element gives the same random bytes twice", "do not use it")
        : ok(`the secure element ${own} answers`),
    ];
    if (serial !== undefined && serial !== own) {
      said.push(
        fail(
          `the state belongs to the secure element ${serial}`,
          "put it back; nothing of the state opens with another",
        ),
      );
    }
    if (emulated) said.push(warn("the root is emulated: it protects nothing", "for development only"));
    return said;
  } finally {
    await chip.close();
  }
}

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
