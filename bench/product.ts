/** The product as it runs: vault and gate as processes with the flags `up` gives them, and what they take. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** What is built, when it is: as it is installed. Otherwise the sources, which start more slowly. */
const BUILT = fileURLToPath(new URL("../dist/cli/halves.js", import.meta.url));
const SOURCES = fileURLToPath(new URL("../src/cli/halves.ts", import.meta.url));
export const isBuilt = existsSync(BUILT);

type HalfCommand = (name: "vault" | "gate", args: readonly string[]) => string[];
const { halfCommand } = (await import(pathToFileURL(isBuilt ? BUILT : SOURCES).href)) as { halfCommand: HalfCommand };

/** The command line's own program. */
export const CLI = fileURLToPath(new URL(isBuilt ? "../dist/cli/main.js" : "../src/cli/main.ts", import.meta.url));

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly readyMilliseconds: number;
  end(): Promise<void>;
}

export interface Product {
  readonly folder: string;
  readonly run: string;
  vault(): Promise<Running>;
  gate(): Promise<Running>;
  /** `thornkey up`. */
  up(): Promise<Running>;
  close(): Promise<void>;
}

/**
 * A folder that others may enter, and what runs over it.
 *
 * @param root as on the command line; default: an emulated secure element
 */
export async function openProduct(root?: string): Promise<Product> {
  const folder = await mkdtemp(join(tmpdir(), "thornkey-bench-"));
  await chmod(folder, 0o755);
  const run = join(folder, "run");
  await mkdir(run, { mode: 0o755 });
  const open = new Set<Running>();
  const start = async (args: readonly string[]) => {
    const running = await startProgram(args);
    open.add(running);
    running.child.once("exit", () => open.delete(running));
    return running;
  };
  const hardware = root ?? `emulated:${join(folder, "chip")}`;
  const vaultArgs = ["--state", join(folder, "state"), "--run", run, "--root", hardware];
  return {
    folder,
    run,
    vault: () => start(halfCommand("vault", vaultArgs)),
    gate: () => start(halfCommand("gate", ["--run", run])),
    up: () => start([CLI, "up", ...vaultArgs]),
    async close() {
      for (const running of [...open].reverse()) await running.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** @returns when it has said `ready` */
export async function startProgram(args: readonly string[], options: { uid?: number } = {}): Promise<Running> {
  const { uid } = options;
  const began = performance.now();
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
    // A session of its own, as a service has one: Linux schedules by sessions.
    detached: true,
    ...(uid !== undefined && { uid, gid: uid, cwd: "/", env: { PATH: process.env.PATH } }),
  });
  const exited = once(child, "exit");
  let said = "";
  child.stdout?.on("data", (chunk) => (said += chunk));
  while (!/^ready$/m.test(said)) {
    const ended = await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), exited]);
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${args.join(" ")}: ended: ${ended}`);
  }
  return {
    child,
    pid: child.pid ?? 0,
    readyMilliseconds: performance.now() - began,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      await exited;
    },
  };
}

export interface Memory {
  /** Megabytes (10^6 bytes): all that is resident, and with what is shared counted in proportion (proc(5), Pss). */
  readonly rss: number;
  readonly pss: number;
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const megabytes = (line: string) =>
    (Number(new RegExp(`^${line}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) * 1024) / 1e6;
  return { rss: megabytes("Rss"), pss: megabytes("Pss") };
}

/** @param part from 0 to 1 */
export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);
