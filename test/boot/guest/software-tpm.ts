/** More TPMs for the guest: swtpm behind the kernel's tpm_vtpm_proxy, each a /dev/tpmrmN like that of a chip. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { createInterface } from "node:readline";
import { until } from "./wait.ts";

export interface SoftwareTpm {
  /** Such as /dev/tpmrm1. */
  readonly path: string;
  /** Takes it away, as a chip that is unplugged. */
  remove(): Promise<void>;
}

/** The kernel gives a new TPM 2 s for its self-test, which swtpm on a busy emulated processor may miss. */
const TRIES = 6;

export async function softwareTpm(): Promise<SoftwareTpm> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const tpm = await started(mkdtempSync("/tmp/tpm-"));
    if (tpm !== undefined) return tpm;
  }
  throw new Error(`in ${TRIES} tries the kernel took no second TPM`);
}

/** @returns undefined when the kernel did not take it */
async function started(state: string): Promise<SoftwareTpm | undefined> {
  const child: ChildProcess = spawn("swtpm", ["chardev", "--vtpm-proxy", "--tpm2", "--tpmstate", `dir=${state}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let path = "";
  if (child.stdout === null) throw new Error("no pipe");
  createInterface({ input: child.stdout }).on("line", (line) => {
    const number = /\/dev\/tpm(\d+)/.exec(line)?.[1];
    if (number !== undefined) path = `/dev/tpmrm${number}`;
  });
  // It ends when the kernel gives up on it.
  const over = () => child.exitCode !== null || child.signalCode !== null;
  await until("a second TPM", () => over() || (path !== "" && existsSync(path)));
  if (over()) return undefined;
  return {
    path,
    async remove() {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      await until(`${path} is gone`, () => !existsSync(path));
    },
  };
}
