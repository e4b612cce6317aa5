/** A vault and a gate as a device has them, and programs of Debian that use them. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { connect, type FixedPolicy, type KeyInfo, type KeyType, type Thornkey } from "../../src/client/index.ts";
import { type LabProcess, spawnProgram } from "../vault/lab.ts";

export interface Device {
  readonly folder: string;
  readonly run: string;
  readonly thornkey: Thornkey;
  readonly vault: () => LabProcess;
  readonly gate: () => LabProcess;
  /** A path in the device's folder. */
  path(name: string): string;
  /** A key that root and everybody else may use. */
  makeKey(name: string, type: KeyType, protection?: "resident" | "wrapped", fixed?: FixedPolicy): Promise<KeyInfo>;
  restartVault(signal?: NodeJS.Signals): Promise<void>;
  restartGate(): Promise<void>;
  close(): Promise<void>;
}

const ANYBODY = { allow: [{ who: "any", rights: ["use" as const] }] };

export async function openDevice(): Promise<Device> {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-device-"));
  chmodSync(folder, 0o711); // programs of other users reach the sockets
  const path = (name: string) => join(folder, name);
  const run = path("run");
  mkdirSync(run, { mode: 0o755 });
  const startVault = () =>
    spawnProgram("vault", ["--state", path("state"), "--run", run, "--root", `emulated:${path("silicon")}`]);
  const startGate = () => spawnProgram("gate", ["--run", run]);
  let [vault, gate] = [await startVault(), await startGate()];
  const thornkey = await connect({ run });
  return {
    ...{ folder, run, thornkey, path, vault: () => vault, gate: () => gate },
    makeKey: (name, type, protection = "wrapped", fixed) =>
      thornkey.keys.create({ name, type, protection, policy: ANYBODY, fixed }),
    async restartVault(signal = "SIGTERM") {
      await vault.end(signal);
      vault = await startVault();
    },
    async restartGate() {
      await gate.end();
      gate = await startGate();
    },
    async close() {
      await thornkey.close();
      await gate.end();
      await vault.end();
      for (const child of running) await stop(child);
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** @returns whether a program is there, by its name or its path */
export function isThere(program: string): boolean {
  if (program.startsWith("/")) return existsSync(program);
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => existsSync(join(folder, program)));
}

export interface Done {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly env?: { readonly [name: string]: string };
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  /** Milliseconds; a generous deadline. */
  readonly timeout?: number;
}

const FOLDERS = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

/** So that our own command line starts faster (vitest.config.ts). */
const { NODE_COMPILE_CACHE } = process.env;
const CACHE = NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE };

/** Runs a program to its end, without blocking this process. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Done> {
  const { env, input = "", cwd, timeout = 60_000 } = options;
  const child = spawn(program, args, {
    env: { PATH: FOLDERS, HOME: cwd ?? "/nonexistent", LC_ALL: "C.UTF-8", ...CACHE, ...env },
    cwd,
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.add(child);
  const limit = setTimeout(() => child.kill("SIGKILL"), timeout);
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  child.stdin.on("error", () => {}); // it need not read what it is given
  child.stdin.end(input);
  const status = await new Promise<number | null>((resolve) => {
    child.once("close", (code) => resolve(code));
    child.once("error", (error) => {
      err += error.message;
      resolve(null);
    });
  });
  clearTimeout(limit);
  running.delete(child);
  return { status, out, err };
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface Served {
  readonly child: ChildProcess;
  said(): string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a program that serves, and waits until it does.
 *
 * @param ready asked again and again
 * @throws Error with what it said, when it ended before or was not ready in a minute
 */
export async function serve(
  program: string,
  args: readonly string[],
  ready: () => boolean | Promise<boolean>,
  { env, cwd }: Pick<RunOptions, "env" | "cwd"> = {},
): Promise<Served> {
  const child = spawn(program, args, {
    env: { PATH: FOLDERS, HOME: "/nonexistent", ...CACHE, ...env },
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let said = "";
  child.stdout.on("data", (chunk) => (said += chunk));
  child.stderr.on("data", (chunk) => (said += chunk));
  child.once("error", (error) => (said += error.message));
  const deadline = Date.now() + 60_000;
  while (!(await ready())) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      await stop(child);
      throw new Error(`${program} does not serve: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { child, said: () => said, stop: (signal) => stop(child, signal) };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  running.delete(child);
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const limit = setTimeout(() => child.kill("SIGKILL"), 10_000);
  child.kill(signal);
  await once(child, "exit");
  clearTimeout(limit);
}

/** @returns a port of the loopback that nobody has right now */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** @returns whether somebody takes connections at a port of the loopback */
export function answersAt(port: number): boolean {
  const { status } = spawnSync("bash", ["-c", `exec 3<>/dev/tcp/127.0.0.1/${port}`], { stdio: "ignore" });
  return status === 0;
}
