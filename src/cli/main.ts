#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
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

/** Groups of commands by their names, in the order of the help; only what is asked for is loaded. */
const GROUPS: readonly (readonly [names: readonly string[], load: () => Promise<readonly Command[]>])[] = [
  [["tour"], async () => [(await import("./tour.ts")).tourCommand()]],
  [["up"], async () => [(await import("./up.ts")).upCommand()]],
  [["status"], async () => [(await import("./status.ts")).statusCommand()]],
  [["key"], async () => [(await import("./key.ts")).keyCommand()]],
  [["chip"], async () => [(await import("./chip.ts")).chipCommand()]],
  [["emulator"], async () => [(await import("./emulator.ts")).emulatorCommand()]],
  [["vault", "gate"], async () => (await import("./up.ts")).halfCommands()],
  [["sign", "verify", "agree", "random"], async () => (await import("./use.ts")).useCommands()],
  [["lock", "unlock"], async () => (await import("./lock.ts")).lockCommands()],
  [["freeze", "thaw", "destroy"], async () => (await import("./control.ts")).controlCommands()],
  [["csr"], async () => [(await import("./csr.ts")).csrCommand()]],
  [["cert"], async () => [(await import("./cert.ts")).certCommand()]],
  [["token"], async () => [(await import("./token.ts")).tokenCommand()]],
  [["wallet"], async () => [(await import("./wallet.ts")).walletCommand()]],
  [["bind"], async () => [(await import("./bind.ts")).bindCommand()]],
  [["journal"], async () => [(await import("./journal.ts")).journalCommand()]],
  [["device", "namespace", "confirm"], async () => (await import("./device.ts")).deviceCommands()],
  [["repair"], async () => [(await import("./repair.ts")).repairCommand()]],
  [["doctor"], async () => [(await import("./doctor.ts")).doctorCommand()]],
];

const asked = process.argv.slice(2).find((argument) => !argument.startsWith("-"));
const groups = GROUPS.filter(([names]) => names.some((name) => name === asked));
// Whoever asks for help, or for what is not there, sees all of them.
for (const [, load] of groups.length > 0 ? groups : GROUPS) {
  for (const command of await load()) program.addCommand(command);
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
