/** What has to be run after the files were written or taken away, and what of it can be run here. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { quoted } from "../programs/token.ts";
import { accountsFor, SYSUSERS_FILE } from "./files.ts";
import type { RootPart } from "./root-parts.ts";
import { GATE_UNIT, VAULT_UNIT } from "./units.ts";

export interface Step {
  readonly command: readonly string[];
  /** What must run for this to make sense. */
  readonly needs: "nothing" | "udev" | "systemd";
  /** Whether it may fail without anything being wrong. */
  readonly mayFail?: boolean;
}

/** Milliseconds a step may take. */
const LONGEST = 60_000;

/** Before the first start, so that users and devices are there. */
export function stepsAfterWriting(parts: readonly RootPart[], hasSysusers: boolean): readonly Step[] {
  return [...(hasSysusers ? [SYSUSERS] : accountSteps(parts)), ...deviceSteps(parts), RELOAD];
}

const SYSUSERS: Step = { command: ["systemd-sysusers", SYSUSERS_FILE], needs: "nothing" };
const RELOAD: Step = { command: ["systemctl", "daemon-reload"], needs: "systemd" };

export const START: Step = {
  command: ["systemctl", "enable", "--now", VAULT_UNIT, GATE_UNIT],
  needs: "systemd",
};

/** The same for an image that does not run. */
export function enableIn(folder: string): string {
  return stepText({ command: ["systemctl", `--root=${folder}`, "enable", VAULT_UNIT, GATE_UNIT], needs: "nothing" });
}

/** Another root, or another program, is taken with a restart; one that does not run is not started. */
export const RESTART: Step = { command: ["systemctl", "try-restart", VAULT_UNIT, GATE_UNIT], needs: "systemd" };

export const STOP: Step = {
  command: ["systemctl", "disable", "--now", VAULT_UNIT, GATE_UNIT],
  needs: "systemd",
  mayFail: true,
};

/** After everything was taken away again. */
export function stepsAfterRemoving(parts: readonly RootPart[]): readonly Step[] {
  return [...deviceSteps(parts), RELOAD];
}

function deviceSteps(parts: readonly RootPart[]): Step[] {
  if (parts.every(({ rules }) => rules.length === 0)) return [];
  const devices = [...new Set(parts.flatMap(({ devices }) => devices))].filter((path) => existsSync(path));
  return [
    { command: ["udevadm", "control", "--reload"], needs: "udev" },
    ...devices.map((path): Step => ({ command: ["udevadm", "trigger", "--action=change", path], needs: "udev" })),
  ];
}

/** Where systemd-sysusers is missing. Who is there already stays as he is. */
function accountSteps(parts: readonly RootPart[]): Step[] {
  const { users, groups } = accountsFor(parts);
  const vault = users[0] ?? "";
  return [
    ...users.map(
      (user): Step => ({
        command: ["useradd", "--system", "--user-group", "--home-dir", "/", "--shell", "/usr/sbin/nologin", user],
        needs: "nothing",
        mayFail: true,
      }),
    ),
    ...groups.flatMap((group): Step[] => [
      { command: ["groupadd", "--system", "--force", group], needs: "nothing" },
      { command: ["usermod", "--append", "--groups", group, vault], needs: "nothing" },
    ]),
  ];
}

export function stepText({ command }: Step): string {
  return command.map(quoted).join(" ");
}

/** What runs on this machine; a container and an image that is being built have neither. */
export interface Services {
  readonly udev: boolean;
  readonly systemd: boolean;
}

/** See sd_booted(3). */
export function servicesHere(): Services {
  return { systemd: existsSync("/run/systemd/system"), udev: existsSync("/run/udev/control") };
}

export type Fate = "done" | "failed" | "not run";

export interface DoneStep {
  readonly step: Step;
  readonly fate: Fate;
  /** Why, of what was not done. */
  readonly why?: string | undefined;
}

type Run = (command: readonly string[]) => { readonly status: number | null; readonly says: string };

/** Runs one after the other what can be run here; a failure is told, and does not keep the others from being run. */
export function runSteps(steps: readonly Step[], services: Services, run: Run = runNow): readonly DoneStep[] {
  return steps.map((step): DoneStep => {
    if (step.needs !== "nothing" && !services[step.needs]) {
      return { step, fate: "not run", why: `${step.needs} does not run here` };
    }
    const { status, says } = run(step.command);
    if (status === 0 || step.mayFail) return { step, fate: "done" };
    return { step, fate: "failed", why: says };
  });
}

function runNow([program = "", ...args]: readonly string[]): ReturnType<Run> {
  const { status, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    timeout: LONGEST,
    stdio: ["ignore", "ignore", "pipe"],
  });
  return { status, says: error?.message ?? stderr.trim() };
}

export function hasSysusers(): boolean {
  return !spawnSync("systemd-sysusers", ["--version"], { stdio: "ignore" }).error;
}
