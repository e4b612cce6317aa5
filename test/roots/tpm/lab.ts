/** Real TPMs in software: Debian's swtpm, each with a state of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TpmLocation } from "../../../src/roots/tpm/location.ts";

export const HAS_SWTPM = spawnSync("swtpm", ["--version"]).status === 0;
if (!HAS_SWTPM) process.stderr.write("swtpm is not installed: the tests of the TPM are skipped\n");

export const HAS_TPM2_TOOLS =
  spawnSync("tpm2_sign", ["--version"]).status === 0 && existsSync("/usr/share/doc/libtss2-tcti-swtpm0");
export const HAS_TPM2_PROVIDER = existsSync("/usr/share/doc/tpm2-openssl");
if (HAS_SWTPM && !HAS_TPM2_TOOLS) process.stderr.write("tpm2-tools are not installed: their tests are skipped\n");
if (HAS_SWTPM && !HAS_TPM2_PROVIDER) process.stderr.write("tpm2-openssl is not installed: its tests are skipped\n");

export interface SoftwareTpm {
  readonly location: TpmLocation;
  readonly socket: string;
  /** What tpm2-tss takes. */
  readonly tcti: string;
  /** Ends it and starts it again, as a TPM that loses its power. @param signal default SIGTERM */
  restart(signal?: NodeJS.Signals): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  /** Starts it again on two TCP ports beside each other, for programs of others. @returns what tpm2-tss takes */
  overTcp(): Promise<string>;
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

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Whether something listens on a port of this host, or on a socket's path, without connecting to it: proc_net(5). */
function listens(at: number | string): boolean {
  const [file, address, state] =
    typeof at === "number"
      ? (["tcp", `:${at.toString(16).toUpperCase().padStart(4, "0")} `, / 0A /] as const)
      : (["unix", ` ${at}`, / 00010000 /] as const);
  const lines = readFileSync(`/proc/net/${file}`, "latin1").split("\n");
  return lines.some(
    (line) => (typeof at === "number" ? line.includes(address) : line.endsWith(address)) && state.test(line),
  );
}

function softwareTpm(folder: string): SoftwareTpm {
  const socket = join(folder, "tpm.sock");
  mkdirSync(join(folder, "state"), { recursive: true });
  let child: ChildProcess | undefined;
  let said = "";

  async function begin(flags: string, ...places: string[]): Promise<void> {
    const state = ["--tpmstate", `dir=${join(folder, "state")}`];
    const started = spawn("swtpm", ["socket", "--tpm2", ...state, ...places, "--flags", flags], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child = started;
    said = "";
    started.stderr.on("data", (chunk: Buffer) => (said += chunk));
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (child === undefined || child.exitCode !== null) throw new Error(`swtpm ended: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const tpm: SoftwareTpm = {
    location: { kind: "socket", path: socket },
    socket,
    tcti: `swtpm:path=${socket}`,
    async start() {
      rmSync(socket, { force: true });
      await begin(
        "not-need-init",
        ...["--server", `type=unixio,path=${socket}`],
        // Where tpm2-tss looks for it.
        ...["--ctrl", `type=unixio,path=${socket}.ctrl`],
      );
      await until(() => listens(socket)); // it is there a moment before somebody listens
    },
    async overTcp() {
      for (let attempt = 1; ; attempt++) {
        await tpm.stop();
        const port = await freePort();
        const ports = [port, port + 1];
        const [server = "", control = ""] = ports.map((port) => `type=tcp,bindaddr=127.0.0.1,port=${port}`);
        // Nobody of those programs starts it.
        await begin("not-need-init,startup-clear", "--server", server, "--ctrl", control);
        try {
          for (const port of ports) await until(() => listens(port));
          return `swtpm:host=127.0.0.1,port=${port}`;
        } catch (error) {
          if (attempt === 10) throw error; // somebody else was there first
        }
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
