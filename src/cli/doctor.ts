import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { connect, type RootLockout, type VaultStatus } from "../client/index.ts";
import { hostFiles, LISTING_BYTES } from "../machine/host-files.ts";
import type { Finding, Patient } from "./checks/finding.ts";
import { HARDWARE_CHECKS } from "./checks/hardware.ts";
import { MACHINE_CHECKS } from "./checks/machine.ts";
import { lockHolder, RUNNING_CHECKS } from "./checks/running.ts";
import { headerIn, STATE_CHECKS } from "./checks/state.ts";
import { print, printJson } from "./output.ts";
import { hostOption, rootOption, runOption, stateOption } from "./up.ts";

const CHECKS = [...MACHINE_CHECKS, ...STATE_CHECKS, ...RUNNING_CHECKS, ...HARDWARE_CHECKS];

interface DoctorOptions {
  readonly state: string;
  readonly run: string;
  readonly root?: string | undefined;
  readonly host: string;
  readonly json?: boolean;
}

/** Milliseconds a running vault may take to answer. */
const PATIENCE = 3000;

/** `thornkey doctor`: whether machine, state and vault are as they should be. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description("look whether machine, state and vault are as they should be; shows no secrets, changes nothing")
    .addOption(stateOption())
    .addOption(runOption())
    .addOption(rootOption())
    .addOption(hostOption().default("/"))
    .option("--json", "print JSON")
    .addHelpText("after", "\nExit status: 0 when nothing failed, else 1. Of 'warn' you decide yourself.")
    .action(doctor);
}

async function doctor(options: DoctorOptions): Promise<void> {
  const findings = await examine(options);
  const failed = findings.some(({ level }) => level === "fail");
  if (options.json) printJson({ healthy: !failed, findings });
  else for (const { level, what, todo } of findings) print(`${level.padEnd(4)}  ${what}${todo ? ` — ${todo}` : ""}`);
  if (failed) process.exitCode = 1;
}

/** @param options.now milliseconds since 1970 */
export async function examine({
  state,
  run,
  root,
  host,
  now = Date.now(),
}: Omit<DoctorOptions, "json"> & { now?: number }): Promise<readonly Finding[]> {
  // Our own kernel's locks, whatever stands for the host.
  const locks = hostFiles("/").text("proc/locks", LISTING_BYTES) ?? "";
  let status: VaultStatus | undefined;
  let lockouts: readonly RootLockout[] = [];
  let silence: Error | undefined;
  try {
    // A socket that is not there may come; but not while somebody looks.
    if (!existsSync(join(run, "api.sock"))) throw new Error(`there is no api.sock in ${run}`);
    await using vault = await connect({ run, patience: PATIENCE });
    const signal = AbortSignal.timeout(PATIENCE);
    status = await vault.status({ signal });
    // Not everybody is told.
    lockouts = await vault.roots.lockouts({ signal }).catch(() => []);
  } catch (error) {
    silence = error as Error;
  }
  const patient: Patient = {
    ...{ state, run, root, now, status, silence, lockouts },
    host: hostFiles(host),
    holder: lockHolder(join(state, "lock"), locks),
    parts: headerIn(join(state, "header.copy"))?.parts ?? [],
  };
  const findings: Finding[] = [];
  for (const check of CHECKS) {
    let said: Awaited<ReturnType<typeof check.look>>;
    try {
      said = await check.look(patient);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      said = { level: "warn", what: `${check.name} could not be looked at: ${why}`, todo: "run this as root" };
    }
    for (const one of said === undefined ? [] : [said].flat()) findings.push({ check: check.name, ...one });
  }
  return findings;
}
