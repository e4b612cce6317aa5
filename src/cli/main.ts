#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
import { configure } from "./configuration.ts";
import { GROUPS } from "./groups.ts";
import { note } from "./output.ts";
import { VERSION } from "./version.ts";

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
  .enablePositionalOptions();

const asked = process.argv.slice(2).find((argument) => !argument.startsWith("-"));
const groups = GROUPS.filter(([names]) => names.some((name) => name === asked));
// Whoever asks for help, or for what is not there, sees all of them.
for (const [, load] of groups.length > 0 ? groups : GROUPS) {
  for (const command of await load()) program.addCommand(command);
}
configure(program);
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
