/** A secure element, asked without a vault. */
import { existsSync } from "node:fs";
import { toHex } from "../../bytes/bytes.ts";
import { openChip } from "../../roots/atecc/chip.ts";
import { Random } from "../../roots/atecc/commands.ts";
import { readConfig } from "../../roots/atecc/conversations.ts";
import { startEmulatedChip } from "../../roots/atecc/emulated.ts";
import { type ChipLocation, parseChipLocation } from "../../roots/atecc/location.ts";
import { provisioningStage } from "../../roots/atecc/provision.ts";
import { fail, ok, type Said, warn } from "./finding.ts";
import type { Ask, Belongs } from "./hardware.ts";

export const askChip: Ask = (specification, _, belongs) => askAt(parseChipLocation(specification), belongs);

export const askEmulated: Ask = async (specification, _, belongs) => {
  const memory = specification.slice("emulated:".length);
  if (!existsSync(memory)) return [warn(`there is no emulated chip in ${memory}`, "'thornkey up' makes one")];
  const emulator = await startEmulatedChip(memory, { timing: "none" });
  try {
    const said = await askAt(emulator.location, belongs);
    return [...said, warn("the root is emulated: it protects nothing", "for development only")];
  } finally {
    await emulator.close();
  }
};

async function askAt(location: ChipLocation, belongs: Belongs): Promise<readonly Said[]> {
  const chip = await openChip(location);
  try {
    const own = toHex(chip.serial);
    const stage = provisioningStage(await readConfig(chip));
    if (stage !== "done" && stage !== "foreign") {
      return [warn(`the secure element ${own} is not provisioned`, "'thornkey chip provision', once and for ever")];
    }
    const [one, other] = await chip.run(Random(), Random());
    return [
      toHex(one) === toHex(other)
        ? fail("the secure element gives the same random bytes twice", "do not use it")
        : ok(`the secure element ${own} answers`),
      ...belongs("the secure element", own),
    ];
  } finally {
    await chip.close();
  }
}
