/** A whole Thornkey – vault, gate, emulated secure element – and programs that use it as a PKCS#11 token. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Thornkey } from "../../../src/client/index.ts";
import { CLIENT_MODULE } from "./peers.ts";

const sources = join(import.meta.dirname, "../../../src");

export interface Ended {
  readonly status: number | null;
  /** What it wrote, on both. */
  readonly output: string;
  readonly stdout: Buffer;
}

export interface TokenLab {
  readonly folder: string;
  readonly socket: string;
  readonly thornkey: Thornkey;
  /** For policies: root makes keys, and uses none unless it is said. */
  readonly mine: { readonly allow: { who: string; rights: "use"[] }[] };
  /** Runs a program with the token as its PKCS#11 module, in the folder. */
  run(command: string, args: readonly string[], environment?: Record<string, string>): Promise<Ended>;
  /** `pkcs11-tool` with the module. @throws Error when it fails */
  tool(...args: string[]): Promise<Ended>;
  file(name: string, content: Uint8Array | string): string;
  /** Resident memory of the gate in KiB. */
  gateMemory(): number;
  killVault(): Promise<void>;
  startVault(): Promise<void>;
  close(): Promise<void>;
}

export async function openTokenLab(): Promise<TokenLab> {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-p11-"));
  const [run, state] = [join(folder, "r"), join(folder, "s")];
  mkdirSync(run);
  mkdirSync(state, { mode: 0o700 });
  const running = new Set<ChildProcess>();

  async function start(main: string, args: readonly string[]): Promise<ChildProcess> {
    const child = spawn(process.execPath, [join(sources, main), ...args], { stdio: ["ignore", "pipe", "inherit"] });
    running.add(child);
    const exited = once(child, "exit").then(() => running.delete(child));
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    while (!said.includes("ready")) {
      if (!running.has(child)) throw new Error(`${main} ended: ${said}`);
      await Promise.race([once(child.stdout, "data"), exited]);
    }
    return child;
  }

  let vault: ChildProcess | undefined;
  const startVault = async () => {
    vault = await start("vault/main.ts", [
      "--state",
      state,
      "--run",
      run,
      "--root",
      `emulated:${join(folder, "chip")}`,
    ]);
  };
  await startVault();
  const gate = await start("gate/main.ts", ["--run", run]);
  const thornkey = await connect({ run });
  const socket = join(run, "pkcs11.sock");
  const uid = process.getuid?.() ?? 0;

  const lab: TokenLab = {
    ...{ folder, socket, thornkey, startVault },
    mine: { allow: [{ who: `uid:${uid}`, rights: ["use"] }] },
    async run(command, args, environment = {}) {
      const child = spawn(command, args, {
        cwd: folder,
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, P11_KIT_SERVER_ADDRESS: `unix:path=${socket}`, ...environment },
        timeout: 100_000,
      });
      const [out, both]: Buffer[][] = [[], []];
      child.stdout.on("data", (chunk) => {
        out?.push(chunk);
        both?.push(chunk);
      });
      child.stderr.on("data", (chunk) => both?.push(chunk));
      const [status] = await once(child, "close");
      return { status, output: Buffer.concat(both ?? []).toString(), stdout: Buffer.concat(out ?? []) };
    },
    async tool(...args) {
      const ended = await lab.run("pkcs11-tool", ["--module", CLIENT_MODULE ?? "", ...args]);
      if (ended.status !== 0) throw new Error(`pkcs11-tool ${args.join(" ")}: ${ended.output}`);
      return ended;
    },
    file(name, content) {
      const path = join(folder, name);
      writeFileSync(path, content);
      return path;
    },
    gateMemory: () =>
      Number(readFileSync(`/proc/${gate.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)?.[1] ?? Number.NaN),
    async killVault() {
      const old = vault;
      old?.kill("SIGKILL");
      if (old !== undefined && old.exitCode === null && old.signalCode === null) await once(old, "exit");
    },
    async close() {
      await thornkey.close();
      for (const child of running) child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
  return lab;
}
