/** The command line as a program, and `thornkey up` as a process. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const ENVIRONMENT = {
  ...process.env,
  NODE_OPTIONS: "",
  THORNKEY_ROOT: undefined,
  THORNKEY_RUN: undefined,
  THORNKEY_STATE: undefined,
  THORNKEY_CONFIG: undefined,
};

export function thornkey(args: readonly string[], input: string | Uint8Array = ""): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    timeout: 100_000,
    input,
    env: ENVIRONMENT,
  });
  return { status, stdout, stderr };
}

export interface Up {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Ends with it, and with the status. */
  readonly ended: Promise<number | null>;
  /** @throws Error when it ends before */
  until(condition: () => boolean): Promise<void>;
}

export function up(args: readonly string[]): Up {
  const child = spawn(process.execPath, [MAIN, "up", ...args], { stdio: ["ignore", "pipe", "pipe"], env: ENVIRONMENT });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  let over = false;
  const ended = once(child, "close").then(([status]) => {
    over = true;
    return status as number | null;
  });
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    async until(condition) {
      while (!condition()) {
        if (over) throw new Error(`thornkey up ended: ${stderr}`);
        await Promise.race([new Promise((resolve) => setTimeout(resolve, 50)), ended]);
      }
    },
  };
}

/** Starts it and waits until it is ready. */
export async function ready(args: readonly string[]): Promise<Up> {
  const started = up(args);
  await started.until(() => started.stdout().includes("ready"));
  return started;
}

/** @returns pids of the halves below an `up` */
export function halvesOf({ child }: Up, name: "vault" | "gate"): number[] {
  const { stdout } = spawnSync("ps", ["-o", "pid=,args=", "--ppid", `${child.pid}`], { encoding: "utf8" });
  return stdout
    .split("\n")
    .filter((line) => line.includes(`/${name}/main.`))
    .map((line) => Number.parseInt(line, 10));
}
