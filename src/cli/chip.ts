import { Command, Option } from "commander";
import { toHex } from "../bytes/bytes.ts";
import { abilitiesOf, type Finding, holdingOf } from "../roots/atecc/abilities.ts";
import { type Chip, openChip } from "../roots/atecc/chip.ts";
import { CounterRead, InfoKeyValid } from "../roots/atecc/commands.ts";
import { type ChipConfig, CONFIG, type Slot } from "../roots/atecc/config.ts";
import { readConfig } from "../roots/atecc/conversations.ts";
import { formatChipLocation, parseChipLocation } from "../roots/atecc/location.ts";
import { hasProfile, PROFILE, PROFILE_NAME } from "../roots/atecc/profile.ts";
import { provisioningStage } from "../roots/atecc/provision.ts";
import { dumpChip } from "./chip-dump.ts";
import { provisionChip } from "./chip-provision.ts";
import { testChip } from "./chip-test.ts";
import { print, printJson, table } from "./output.ts";

/** `thornkey chip`: one secure element, without a vault. */
export function chipCommand(): Command {
  const command = new Command("chip").description("a secure element (ATECC508A, ATECC608), without a vault");
  const sub = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .addOption(
        new Option("--root <spec>", "where the chip is: atecc:/dev/i2c-1[@0x60] or atecc:unix:/path.sock")
          .env("THORNKEY_ROOT")
          .default("atecc:/dev/i2c-1"),
      )
      .option("--json", "print JSON");
  sub("info", "who it is, and what each slot can do and why").action((options) => withChip(options, showChip));
  sub("dump", "every byte that can be read").action((options) => withChip(options, dumpChip));
  sub("provision", `configure and lock a blank chip with the profile ${PROFILE_NAME}: irreversible`)
    .requiredOption(
      "--transport-key <file>",
      "32 bytes the chip and this host share, to hide what crosses the bus; made when it does not exist",
    )
    .option("--yes", "do not ask")
    .option("--dry-run", "print what would be fixed for ever, and change nothing")
    .action((options) => withChip(options, provisionChip));
  sub("test", "try what it can do, changing nothing").action((options) => withChip(options, testChip));
  return command;
}

export interface ChipCommandOptions {
  readonly root: string;
  readonly json?: boolean;
}

async function withChip<Options extends ChipCommandOptions>(
  options: Options,
  action: (chip: Chip, options: Options) => Promise<void>,
): Promise<void> {
  const chip = await openChip(parseChipLocation(options.root));
  try {
    await action(chip, options);
  } finally {
    await chip.close();
  }
}

async function showChip(chip: Chip, { json }: ChipCommandOptions): Promise<void> {
  const description = await describeChip(chip);
  if (json) {
    printJson(description);
    return;
  }
  for (const [name, value] of headLines(description)) print(`${name.padEnd(14)}${value}`);
  print("");
  for (const line of table(["slot", "bytes", "holds", "can", "cannot"], description.slots.map(slotRow))) print(line);
}

/** One chip as `info` shows it. */
interface ChipDescription {
  readonly root: string;
  readonly model: string;
  readonly serial: string;
  readonly revision: string;
  readonly i2cAddress: string;
  readonly configLocked: boolean;
  readonly dataLocked: boolean;
  readonly profile: string;
  readonly counters: readonly number[];
  readonly slots: readonly SlotDescription[];
}

interface SlotDescription {
  readonly slot: number;
  readonly bytes: number;
  readonly holds: string;
  readonly purpose?: string;
  readonly keyPresent?: boolean;
  readonly locked: boolean;
  readonly abilities: readonly Finding[];
}

async function describeChip(chip: Chip): Promise<ChipDescription> {
  const config = await readConfig(chip);
  const counters = await chip.run(CounterRead(0), CounterRead(1));
  const slots: SlotDescription[] = [];
  for (const slot of config.slots) slots.push(await describeSlot(chip, config, slot));
  return {
    root: formatChipLocation(chip.location),
    model: chip.model === "508a" ? "ATECC508A" : "ATECC608",
    serial: toHex(chip.serial),
    revision: toHex(chip.revision),
    i2cAddress: `0x${((config.bytes[CONFIG.i2cAddress] ?? 0) >> 1).toString(16)}`,
    configLocked: config.configLocked,
    dataLocked: config.dataLocked,
    profile: PROFILE_WORDS[provisioningStage(config)],
    counters,
    slots,
  };
}

const PROFILE_WORDS = {
  blank: "none: the chip is blank ('thornkey chip provision' configures it)",
  configured: `${PROFILE_NAME}, half done ('thornkey chip provision' goes on)`,
  done: PROFILE_NAME,
  foreign: "adopted: somebody else configured it",
} as const;

async function describeSlot(chip: Chip, config: ChipConfig, slot: Slot): Promise<SlotDescription> {
  const holds = holdingOf(slot);
  const purpose = hasProfile(config.bytes) ? PROFILE[slot.number]?.purpose : undefined;
  const present = holds === "private key" ? (await chip.run(InfoKeyValid(slot.number)))[0] : undefined;
  return {
    slot: slot.number,
    bytes: slot.size,
    holds,
    ...(purpose !== undefined && { purpose }),
    ...(present !== undefined && { keyPresent: present }),
    locked: slot.locked,
    abilities: abilitiesOf(slot, config, chip.model),
  };
}

function headLines(chip: ChipDescription): [string, string][] {
  const lock = (locked: boolean) => (locked ? "locked" : "open");
  return [
    ["chip", `${chip.model}, revision ${chip.revision}, at ${chip.root}`],
    ["serial", chip.serial],
    ["I2C address", `${chip.i2cAddress} (7 bit)`],
    ["configuration", lock(chip.configLocked)],
    ["data and OTP", lock(chip.dataLocked)],
    ["profile", chip.profile],
    ["counters", chip.counters.join(", ")],
  ];
}

function slotRow(slot: SlotDescription) {
  const say = ({ ability, why }: Finding) => `${ability} (${why})`;
  const holds = [slot.keyPresent === false ? `${slot.holds}: none yet` : slot.holds];
  if (slot.purpose !== undefined) holds.push(slot.purpose);
  if (slot.locked) holds.push("locked");
  return [
    String(slot.slot),
    String(slot.bytes),
    holds,
    slot.abilities.filter(({ possible }) => possible).map(say),
    slot.abilities.filter(({ possible }) => !possible).map(say),
  ];
}
