/** The gate as a child process, before a vault double. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startVaultDouble, type VaultDouble } from "./vault-double.ts";

export interface GateProcess {
  readonly child: ChildProcess;
  /** What it wrote on stderr so far. */
  stderr(): string;
  /** @returns its exit status, or the signal that ended it */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>;
}

/** What a test that fails would leave running. */
const running = new Set<ChildProcess>();

export async function spawnGate(run: string): Promise<GateProcess> {
  const program = join(import.meta.dirname, "gate-process.ts");
  const child = spawn(process.execPath, ["--expose-gc", program, "--run", run], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let stderr = "";
  child.stderr?.on("data", (chunk) => (stderr += chunk));
  const exited = once(child, "exit");
  const [said] = await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), exited]);
  if (String(said) !== "ready\n") throw new Error(`the gate did not start: ${stderr}`);
  return {
    child,
    stderr: () => stderr,
    async end(signal) {
      child.kill(signal);
      const [status, by] = await exited;
      return status ?? by;
    },
  };
}

export interface ProcessLab {
  readonly run: string;
  readonly vault: VaultDouble;
  close(): Promise<void>;
}

export async function openProcessLab(): Promise<ProcessLab> {
  const run = mkdtempSync(join(tmpdir(), "thornkey-gate-"));
  const vault = await startVaultDouble(join(run, "vault.sock"));
  return {
    ...{ run, vault },
    async close() {
      for (const child of running) child.kill("SIGKILL");
      await vault.close();
      rmSync(run, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}
