/** Real TPMs in software: Debian's swtpm, each with a state of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TpmLocation } from "../../../src/roots/tpm/location.ts";

export const HAS_SWTPM = spawnSync("swtpm", ["--version"]).status === 0;
if (!HAS_SWTPM) process.stderr.write("swtpm is not installed: the tests of the TPM are skipped\n");

export interface SoftwareTpm {
  readonly location: TpmLocation;
  readonly socket: string;
  /** What tpm2-tss takes. */
  readonly tcti: string;
  /** Ends it and starts it again, as a TPM that loses its power. @param signal default SIGTERM */
  restart(signal?: NodeJS.Signals): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
}

export interface TpmLab {
  readonly folder: string;
  tpm(name?: string): Promise<SoftwareTpm>;
  close(): Promise<void>;
}

export function openTpmLab(): TpmLab {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-tpm-"));
  const open: SoftwareTpm[] = [];
  let number = 0;
  return {
    folder,
    async tpm(name = `tpm${++number}`) {
      const tpm = softwareTpm(join(folder, name));
      open.push(tpm);
      await tpm.start();
      return tpm;
    },
    async close() {
      for (const tpm of open) await tpm.stop("SIGKILL");
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

/** The socket is there a moment before somebody listens. */
async function listens(socket: string): Promise<boolean> {
  const probe = connect(socket);
  try {
    await once(probe, "connect");
    return true;
  } catch {
    return false;
  } finally {
    probe.destroy();
  }
}

function softwareTpm(folder: string): SoftwareTpm {
  const socket = join(folder, "tpm.sock");
  mkdirSync(join(folder, "state"), { recursive: true });
  let child: ChildProcess | undefined;
  const tpm: SoftwareTpm = {
    location: { kind: "socket", path: socket },
    socket,
    tcti: `swtpm:path=${socket}`,
    async start() {
      rmSync(socket, { force: true });
      const started = spawn(
        "swtpm",
        [
          ...["socket", "--tpm2", "--tpmstate", `dir=${join(folder, "state")}`],
          ...["--server", `type=unixio,path=${socket}`, "--flags", "not-need-init"],
          // Where tpm2-tss looks for it.
          ...["--ctrl", `type=unixio,path=${socket}.ctrl`],
        ],
        { stdio: ["ignore", "ignore", "pipe"] },
      );
      child = started;
      let said = "";
      started.stderr.on("data", (chunk: Buffer) => (said += chunk));
      while (!existsSync(socket) || !(await listens(socket))) {
        if (started.exitCode !== null) throw new Error(`swtpm ended: ${said}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async stop(signal = "SIGTERM") {
      const ending = child;
      child = undefined;
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
      const gone = once(ending, "exit");
      ending.kill(signal);
      await gone;
    },
    async restart(signal) {
      await tpm.stop(signal);
      await tpm.start();
    },
  };
  return tpm;
}
