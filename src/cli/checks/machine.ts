/** The machine and the runtime. */
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { mustBeNewEnough } from "../halves.ts";
import { type Check, fail, ok, warn } from "./finding.ts";

/** Before this nothing of Thornkey was made. */
const FIRST_DAY = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;

export const MACHINE_CHECKS: readonly Check[] = [
  {
    name: "node",
    look() {
      const { node } = process.versions;
      try {
        mustBeNewEnough(node);
        return ok(`Node.js ${node}`);
      } catch (error) {
        const { message, hint = "" } = error as Error & { hint?: string };
        return fail(message, hint);
      }
    },
  },
  {
    name: "clock",
    look({ now }) {
      const built = Math.max(FIRST_DAY, changed(new URL("../../../package.json", import.meta.url)));
      const day = new Date(now).toISOString().slice(0, 10);
      // A file may come from a machine whose clock is a little ahead.
      return now + DAY < built
        ? fail(`it is ${day} here, and this release is newer`, "set the clock: policies with dates depend on it")
        : ok(`it is ${day}`);
    },
  },
  {
    name: "entropy",
    look({ host }) {
      const available = host.text("proc/sys/kernel/random/entropy_avail");
      randomBytes(1);
      // From Linux 5.18 on it says 256 once the generator is seeded, and always.
      return available !== undefined && Number(available) < 128
        ? warn(`the kernel has only ${available} bits of entropy`, "wait until it has more before keys are made")
        : ok("the kernel's random numbers are seeded");
    },
  },
  {
    name: "swap",
    look({ host }) {
      const areas = (host.text("proc/swaps") ?? "").split("\n").slice(1);
      const onDisk = areas
        .map((line) => line.split(/\s+/)[0] ?? "")
        .filter((name) => name !== "" && !/zram/.test(name));
      return onDisk.length > 0
        ? warn(
            `memory is swapped to ${onDisk.join(", ")}`,
            "MemorySwapMax=0 in the vault's unit, encrypted swap, or none",
          )
        : ok("no memory is swapped to a disk");
    },
  },
  {
    name: "core-dumps",
    look({ host }) {
      const pattern = host.text("proc/sys/kernel/core_pattern") ?? "";
      return pattern.startsWith("|")
        ? warn(
            `the kernel hands memory of dead processes to ${pattern.slice(1).split(" ")[0]}`,
            "the vault forbids it for itself; see that nothing else of yours needs it, then kernel.core_pattern=core",
          )
        : ok("memory of dead processes goes to no program");
    },
  },
];

function changed(file: URL): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
