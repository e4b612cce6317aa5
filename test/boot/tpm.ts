/**
 * The TPM: swtpm behind QEMU's TPM interface, which the kernel drives with tpm_tis and offers as /dev/tpmrm0. The contract
 * of a root has to be kept there by the same tests, by name, that `npm test` runs against swtpm's socket.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Part } from "./part.ts";
import { CONTRACT, type Result } from "./report.ts";

const PROJECT = join(import.meta.dirname, "../..");
const SWTPM = "/usr/bin/swtpm";
const START_MS = 10_000;
const LIST_MS = 180_000;

export const tpmPart: Part = {
  name: "tpm",
  missing: () => (existsSync(SWTPM) ? undefined : `${SWTPM} is not there (apt install swtpm)`),
  modules: ["tpm_tis", "tpm_vtpm_proxy"],
  packages: [
    "@vitest/expect",
    "@vitest/spy",
    "@vitest/utils",
    "@vitest/pretty-format",
    "chai",
    "tinyrainbow",
    "convert-source-map",
  ],
  files: ["test/roots/contract.ts", "test/roots/hex-of.ts", "test/roots/tpm/expected.ts"],
  programs: [SWTPM],
  longest: 1_500_000,
  async start(folder) {
    const expected = contractTests();
    const swtpm = await startSwtpm(folder);
    return {
      devices: [
        ...["-chardev", `socket,id=tpm,path=${swtpm.socket}`],
        ...["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"],
      ],
      asks: { stall: () => swtpm.child.kill("SIGSTOP"), goOn: () => swtpm.child.kill("SIGCONT") },
      complaint: (results) => differences(expected, results),
      summary: () => `${expected.length} tests of the contract`,
      async close() {
        if (swtpm.child.exitCode !== null || swtpm.child.signalCode !== null) return; // it ends with its machine
        const ended = once(swtpm.child, "exit");
        swtpm.child.kill("SIGKILL");
        await ended;
      },
    };
  },
};

async function startSwtpm(folder: string): Promise<{ socket: string; child: ChildProcess }> {
  const state = join(folder, "tpm-state");
  const socket = join(folder, "tpm");
  mkdirSync(state);
  const child = spawn(
    SWTPM,
    ["socket", "--tpm2", "--tpmstate", `dir=${state}`, "--ctrl", `type=unixio,path=${socket}`],
    { stdio: "ignore" },
  );
  process.on("exit", () => child.kill("SIGKILL"));
  const start = performance.now();
  while (!existsSync(socket)) {
    if (child.exitCode !== null || performance.now() - start > START_MS) throw new Error("swtpm does not start");
    await pause(20);
  }
  return { socket, child };
}

/** @returns the names of the contract's tests as vitest runs them against swtpm's socket */
function contractTests(): string[] {
  const vitest = join(PROJECT, "node_modules/vitest/vitest.mjs");
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [vitest, "list", "test/roots/tpm/contract.test.ts", "--json"],
    { cwd: PROJECT, encoding: "utf8", timeout: LIST_MS },
  );
  if (status !== 0) throw new Error(`vitest does not list the contract's tests: ${stderr}`);
  const listed: { name: string }[] = JSON.parse(stdout.slice(stdout.indexOf("[")));
  const names = listed.map(({ name }) => name.slice(name.indexOf(CONTRACT) + CONTRACT.length));
  if (names.length === 0) throw new Error("the contract has no tests");
  return names.sort();
}

/** That every test of the contract was run in the guest, and none besides. */
function differences(expected: readonly string[], results: readonly Result[]): string | undefined {
  const seen = results.filter(({ step }) => step.startsWith(CONTRACT)).map(({ step }) => step.slice(CONTRACT.length));
  const missing = expected.filter((name) => !seen.includes(name));
  const strange = seen.filter((name) => !expected.includes(name));
  if (missing.length === 0 && strange.length === 0 && seen.length === expected.length) return undefined;
  const list = [...missing.map((name) => `not run: ${name}`), ...strange.map((name) => `not of the contract: ${name}`)];
  return [`the contract has ${expected.length} tests, and ${seen.length} were run in the guest`, ...list].join("\n");
}
