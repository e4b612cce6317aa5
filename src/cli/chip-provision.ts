import { confirm, isCancel } from "@clack/prompts";
import { toHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import type { Chip } from "../roots/atecc/chip.ts";
import { readConfig } from "../roots/atecc/conversations.ts";
import { PROFILE_NAME } from "../roots/atecc/profile.ts";
import { provision, provisioningStage, provisioningWarning } from "../roots/atecc/provision.ts";
import { readOrMakeTransportKey } from "../roots/atecc/transport-key.ts";
import type { ChipCommandOptions } from "./chip.ts";
import { note, print, printJson } from "./output.ts";

interface ProvisionOptions extends ChipCommandOptions {
  readonly transportKey: string;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

/** `thornkey chip provision`: says what will be fixed for ever, asks, does it. */
export async function provisionChip(chip: Chip, options: ProvisionOptions): Promise<void> {
  const config = await readConfig(chip);
  const stage = provisioningStage(config);
  if (stage === "foreign") {
    throw new ThornkeyError("ROOT_REFUSED", "somebody else has configured this chip, and its configuration is locked", {
      hint: "it can be used as it is: 'thornkey chip info' shows what its slots allow",
    });
  }
  const serial = toHex(chip.serial);
  const fixed = stage === "done" ? [] : provisioningWarning(chip, config);
  if (options.dryRun) {
    if (options.json) printJson({ serial, profile: PROFILE_NAME, stage, fixedForEver: fixed });
    else if (stage === "done") print(`chip ${serial} already has the profile ${PROFILE_NAME}`);
    else for (const line of [`provisioning chip ${serial} would fix for ever:`, ...fixed.map(bullet)]) print(line);
    return;
  }
  if (stage !== "done" && !options.yes) await ask(serial, fixed);
  using transport = await readOrMakeTransportKey(options.transportKey, { mayMake: stage !== "done" });
  await provision(chip, transport, (step) => note(`${step} …`));
  if (options.json) printJson({ serial, profile: PROFILE_NAME, stage: "done", transportKey: options.transportKey });
  else print(`chip ${serial} has the profile ${PROFILE_NAME}; its transport key is in ${options.transportKey}`);
}

async function ask(serial: string, fixed: readonly string[]): Promise<void> {
  note(`Provisioning chip ${serial} cannot be undone. It fixes for ever:`);
  for (const line of fixed) note(bullet(line));
  if (!process.stdin.isTTY) {
    throw new ThornkeyError("USAGE", "nobody is here to say yes", { hint: "add --yes, if you are sure" });
  }
  const answer = await confirm({ message: "Lock this chip for ever?", initialValue: false });
  if (isCancel(answer) || !answer) throw new ThornkeyError("ABORTED", "nothing was changed");
}

function bullet(line: string): string {
  return `  - ${line}`;
}
