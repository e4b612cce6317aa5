#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
import { bindCommand } from "./bind.ts";
import { chipCommand } from "./chip.ts";
import { controlCommands } from "./control.ts";
import { deviceCommands } from "./device.ts";
import { emulatorCommand } from "./emulator.ts";
import { journalCommand } from "./journal.ts";
import { keyCommand } from "./key.ts";
import { lockCommands } from "./lock.ts";
import { note } from "./output.ts";
import { statusCommand } from "./status.ts";
import { tourCommand } from "./tour.ts";
import { halfCommandOf, upCommand } from "./up.ts";
import { useCommands } from "./use.ts";
import { useProgramCommand } from "./use-program.ts";
import { VERSION } from "./version.ts";
import { walletCommand } from "./wallet.ts";

const USAGE = 2;

// Whoever read our output has seen enough, as 'head' does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const program = new Command("thornkey")
  .description("Hardware-rooted key store for small Linux devices: keys are made in silicon and never leave it")
  .version(VERSION)
  .showHelpAfterError("('thornkey help' lists the commands)")
  .enablePositionalOptions()
  .addCommand(tourCommand())
  .addCommand(upCommand())
  .addCommand(statusCommand())
  .addCommand(keyCommand())
  .addCommand(chipCommand())
  .addCommand(emulatorCommand())
  .addCommand(halfCommandOf("vault", "the half that holds the keys, as a service manager runs it"))
  .addCommand(halfCommandOf("gate", "the half that talks to programs, as a service manager runs it"));
for (const command of [
  ...useCommands(),
  useProgramCommand(),
  ...lockCommands(),
  ...controlCommands(),
  walletCommand(),
  bindCommand(),
  journalCommand(),
  ...deviceCommands(),
]) {
  program.addCommand(command);
}
exitWithUsageStatus(program);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** @returns the exit status */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (error instanceof ThornkeyError) {
    note(`thornkey: ${error.code}: ${error.message}`);
    if (error.hint !== undefined) note(`hint: ${error.hint}`);
    return ERROR_CODES[error.code].exit;
  }
  note(`thornkey: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  if (process.env.THORNKEY_TRACE !== undefined && error instanceof Error) note(error.stack ?? "");
  return ERROR_CODES.FAILED.exit;
}

/** Commander would end the process itself, with status 1. */
function exitWithUsageStatus(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) exitWithUsageStatus(child);
}
