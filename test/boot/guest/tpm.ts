/** Runs inside the guest: the contract of a root, and the life of a vault, on the kernel's own /dev/tpmrm0. */
import { existsSync, readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import type { Bench } from "../../roots/contract.ts";
import { EXPECTED } from "../../roots/tpm/expected.ts";
import { type SoftwareTpm, softwareTpm } from "./software-tpm.ts";
import { end, must, step } from "./steps.ts";
import { life } from "./tpm-life.ts";
import { until } from "./wait.ts";

const DEVICE = "/dev/tpmrm0";
const FOLDER = "/tmp/roots";
/** Milliseconds for one test, on an emulated processor. */
const PATIENCE = 300_000;

const onDevice = (path: string, folder = FOLDER) => openTpmRoot({ kind: "device", path }, { folder });

async function deviceBench(): Promise<Bench> {
  const others: SoftwareTpm[] = [];
  return {
    open: () => onDevice(DEVICE),
    async openAnother() {
      const other = await softwareTpm();
      others.push(other);
      return onDevice(other.path, `/tmp/roots${others.length}`);
    },
    async close() {
      for (const other of others) await other.remove();
    },
  };
}

await step("the kernel has the TPM", async () => {
  await until(DEVICE, () => existsSync(DEVICE));
  const driver = readFileSync("/sys/class/tpm/tpm0/device/uevent", "utf8").trim();
  must(readFileSync("/sys/class/tpm/tpm0/tpm_version_major", "utf8").trim() === "2", "it is not a TPM 2.0");
  return driver;
});

registerHooks({
  resolve: (name, context, next) =>
    name === "vitest" ? { url: new URL("vitest.ts", import.meta.url).href, shortCircuit: true } : next(name, context),
});
const { keepsTheContract } = await import("../../roots/contract.ts");
const { runCollected } = await import("./vitest.ts");
keepsTheContract("a TPM", deviceBench, { ...EXPECTED, patience: PATIENCE });
await runCollected();

// The TPM has been cleared; on it begins another state.
await life(DEVICE, "/tmp/life");

end();
