import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { constants } from "node:os";
import { Command, Option } from "commander";
import { ThornkeyError } from "../errors.ts";
import { argumentsOfHalf, DEFAULTS, fromConfiguration } from "./configuration.ts";
import { type HalfName, halfCommand, halfEnvironment } from "./halves.ts";
import { note, print } from "./output.ts";
import { supervise } from "./supervisor.ts";

interface UpOptions {
  readonly state: string;
  readonly run: string;
  readonly root?: string;
  readonly host?: string;
  readonly timing?: string;
  readonly stay?: boolean;
  readonly untilStdinCloses?: boolean;
}

/** `thornkey up`: vault and gate in the foreground. */
export function upCommand(): Command {
  return new Command("up")
    .description("vault and gate in the foreground; prints 'ready' when both serve, ends with SIGTERM or Ctrl-C")
    .addOption(stateOption())
    .addOption(runOption())
    .addOption(rootOption())
    .addOption(hostOption())
    .addOption(new Option("--timing <timing>", "of an emulated chip").choices(["none", "typical", "maximum"]))
    .option("--stay", "go on when the vault refuses to open, so that 'thornkey status' tells why")
    .addOption(new Option("--until-stdin-closes", "end when standard input does").hideHelp())
    .action(up);
}

export function stateOption(): Option {
  return fromConfiguration(
    new Option("--state <dir>", "the vault's state").env("THORNKEY_STATE").default(DEFAULTS.state),
  );
}

export function rootOption(): Option {
  return fromConfiguration(
    new Option(
      "--root <spec>",
      "emulated:FILE, atecc:/dev/i2c-1, tpm:/dev/tpmrm0, pkcs11:/path/module.so?token=LABEL, pi; A+B needs both; may be repeated",
    )
      .argParser((spec: string, before: string | undefined) => (before === undefined ? spec : `${before}+${spec}`))
      .env("THORNKEY_ROOT"),
  );
}

export function runOption(): Option {
  return fromConfiguration(
    new Option("--run <dir>", "folder of the sockets").env("THORNKEY_RUN").default(DEFAULTS.run),
  );
}

export function hostOption(): Option {
  return fromConfiguration(new Option("--host <dir>", "the directory that is / for what tells this host from others"));
}

async function up(options: UpOptions): Promise<void> {
  const { state, run, root, host, timing } = options;
  if (root === undefined) {
    throw new ThornkeyError("USAGE", "--root says which hardware holds the keys, and nothing is taken for granted", {
      hint: "--root emulated:FILE is to try it out, and protects nothing; on a device 'thornkey setup' finds the hardware",
    });
  }
  try {
    mkdirSync(run, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw new ThornkeyError("NOT_PERMITTED", `${run} cannot be made (${(cause as NodeJS.ErrnoException).code})`, {
      hint: "--run and --state name other folders",
      cause,
    });
  }
  const vault = ["--state", state, "--run", run, "--root", root];
  if (host !== undefined) vault.push("--host", host);
  if (timing !== undefined) vault.push("--timing", timing);
  const both = supervise({
    args: { vault, gate: ["--run", run] },
    stay: options.stay ?? false,
    say: print,
    note,
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => both.end(0));
  if (options.untilStdinCloses) process.stdin.on("close", () => both.end(0)).resume();
  process.exitCode = await both.ended;
  if (options.untilStdinCloses) process.stdin.destroy();
}

/** `thornkey vault …` and `thornkey gate …`: one half, as a service manager runs it. */
export function halfCommands(): readonly Command[] {
  return [
    halfCommandOf("vault", "the half that holds the keys, as a service manager runs it"),
    halfCommandOf("gate", "the half that talks to programs, as a service manager runs it"),
  ];
}

function halfCommandOf(name: HalfName, description: string): Command {
  return new Command(name)
    .description(description)
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .argument("[arguments...]")
    .action((args: string[]) => become(name, args));
}

/** Replaces this process, or where Node cannot, stands before the other and hands signals and status on. */
async function become(name: HalfName, args: readonly string[]): Promise<void> {
  const command = halfCommand(name, await argumentsOfHalf(name, args));
  if (process.execve !== undefined) {
    process.removeAllListeners("warning"); // that execve is experimental is nothing for the journal of a service
    process.execve(process.execPath, [process.execPath, ...command], halfEnvironment());
  }
  const child = spawn(process.execPath, command, { stdio: "inherit", env: halfEnvironment() });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  const [status, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  // The shell's convention for an end by signal.
  process.exitCode = status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}
