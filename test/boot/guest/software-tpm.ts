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

export async function softwareTpm(): Promise<SoftwareTpm> {
  const state = mkdtempSync("/tmp/tpm-");
  const child: ChildProcess = spawn("swtpm", ["chardev", "--vtpm-proxy", "--tpm2", "--tpmstate", `dir=${state}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let path: string | undefined;
  if (child.stdout === null) throw new Error("no pipe");
  createInterface({ input: child.stdout }).on("line", (line) => {
    const number = /\/dev\/tpm(\d+)/.exec(line)?.[1];
    if (number !== undefined) path = `/dev/tpmrm${number}`;
  });
  await until("a second TPM", () => path !== undefined && existsSync(path));
  const found = path ?? "";
  return {
    path: found,
    async remove() {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      await until(`${found} is gone`, () => !existsSync(found));
    },
  };
}
