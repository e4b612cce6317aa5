import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../../src/bytes/secret.ts";
import { openChip } from "../../../src/roots/atecc/chip.ts";
import { type EmulatedChip, startEmulatedChip } from "../../../src/roots/atecc/emulated.ts";
import { provision } from "../../../src/roots/atecc/provision.ts";
import { openAteccRoot } from "../../../src/roots/atecc/root.ts";
import type { Bench } from "../contract.ts";

const transport = () => new Secret(new Uint8Array(32).fill(7));

export async function ateccBench(model: "508a" | "608a"): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
  const emulators: EmulatedChip[] = [];
  const make = async (name: string) => {
    const emulator = await startEmulatedChip(join(folder, name), { model });
    emulators.push(emulator);
    const chip = await openChip(emulator.location);
    await provision(chip, transport());
    await chip.close();
    return emulator.location;
  };
  const first = await make("chip");
  let others = 0;
  return {
    open: () => openAteccRoot(first, transport()),
    openAnother: async () => openAteccRoot(await make(`other-${++others}`), transport()),
    async close() {
      for (const emulator of emulators) await emulator.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}
