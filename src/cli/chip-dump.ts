import { toHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import type { Chip } from "../roots/atecc/chip.ts";
import { readConfig, readOtp, readSlot } from "../roots/atecc/conversations.ts";
import type { ChipCommandOptions } from "./chip.ts";
import { print, printJson } from "./output.ts";

/** `thornkey chip dump`: every byte that can be read in clear; for the rest, that the chip refuses. */
export async function dumpChip(chip: Chip, { json }: ChipCommandOptions): Promise<void> {
  const config = await readConfig(chip);
  const zones: { zone: string; bytes: Uint8Array | undefined }[] = [{ zone: "config", bytes: config.bytes }];
  zones.push({ zone: "otp", bytes: await unlessRefused(() => readOtp(chip)) });
  for (const { number } of config.slots) {
    zones.push({ zone: `slot ${number}`, bytes: await unlessRefused(() => readSlot(chip, number)) });
  }
  if (json) {
    printJson(Object.fromEntries(zones.map(({ zone, bytes }) => [zone, bytes === undefined ? null : toHex(bytes)])));
    return;
  }
  for (const { zone, bytes } of zones) {
    if (bytes === undefined) {
      print(`${zone.padEnd(8)} not readable in clear`);
      continue;
    }
    for (let offset = 0; offset < bytes.length; offset += 16) {
      const line = toHex(bytes.subarray(offset, offset + 16))
        .replaceAll(/(..)/g, "$1 ")
        .trimEnd();
      print(`${(offset === 0 ? zone : "").padEnd(8)} ${String(offset).padStart(3)}  ${line}`);
    }
  }
}

async function unlessRefused(read: () => Promise<Uint8Array>): Promise<Uint8Array | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ThornkeyError && error.code === "ROOT_REFUSED") return undefined;
    throw error;
  }
}
