/**
 * What is said once for all commands of a machine: `/etc/thornkey/thornkey.toml`. An option goes before the environment,
 * the environment before the file, the file before the default. Everybody may read it, so nothing secret belongs there.
 */
import { readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { type Command, Option } from "commander";
import { ThornkeyError } from "../errors.ts";
import type { HalfName } from "./halves.ts";

export const CONFIGURATION_FILE = "/etc/thornkey/thornkey.toml";
const VARIABLE = "THORNKEY_CONFIG";
const MOST_BYTES = 65_536;

/** A file that is not there says nothing. */
export interface Configuration {
  /** A root specification; several that are all needed are joined with `+`. */
  readonly root?: string;
  readonly state?: string;
  readonly run?: string;
  readonly host?: string;
  /** Where `vault.sock` is, when vault and gate are different users; else in `run`. */
  readonly "vault-run"?: string;
  /** The user the gate runs as, when it is not the vault's. */
  readonly "gate-user"?: string;
}

const KEYS: { readonly [Key in keyof Required<Configuration>]: (value: unknown) => string } = {
  root: (value) => (Array.isArray(value) ? notEmpty(value).map(specification).join("+") : specification(value)),
  state: folder,
  run: folder,
  host: folder,
  "vault-run": folder,
  "gate-user": (value) => text(value, /^[a-zA-Z_][\w.-]{0,30}\$?$/, "the name of a user"),
};

/** Where an option is not given, and the environment says nothing, the file does. */
const configurable = new WeakSet<Option>();

/** Marks an option whose name is a key of the file. */
export function fromConfiguration(option: Option): Option {
  configurable.add(option);
  return option;
}

/** Every command that takes something from the file is told about it with `--config`. */
export function configure(program: Command): void {
  for (const command of everyCommand(program)) {
    if (command.options.some((option) => configurable.has(option))) {
      command.addOption(
        new Option("--config <file>", `what is said for this machine (default: ${CONFIGURATION_FILE})`).env(VARIABLE),
      );
    }
  }
  program.hook("preAction", async (_, command) => {
    const open = command.options.filter((option) => {
      const source = command.getOptionValueSource(option.attributeName());
      return configurable.has(option) && (source === undefined || source === "default");
    });
    if (open.length === 0) return;
    const said = await readConfiguration(command.getOptionValue("config"));
    for (const option of open) {
      const value = said[option.attributeName() as keyof Configuration];
      if (value !== undefined) command.setOptionValueWithSource(option.attributeName(), value, "config");
    }
  });
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/**
 * @param named a file somebody asked for, which must be there; without it the usual one, which may be missing
 * @throws ThornkeyError `FILE_NOT_FOUND`, `NOT_PERMITTED`; `MALFORMED` with file and line
 */
export async function readConfiguration(named?: string): Promise<Configuration> {
  const path = named ?? CONFIGURATION_FILE;
  let bytes: Uint8Array;
  try {
    if (!statSync(path).isFile()) throw new ThornkeyError("MALFORMED", `${path} is no file`);
    bytes = readFileSync(path);
  } catch (cause) {
    if (cause instanceof ThornkeyError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const missing = code === "ENOENT" || code === "ENOTDIR";
    if (missing && named === undefined) return {};
    if (missing) throw new ThornkeyError("FILE_NOT_FOUND", `there is no configuration at ${path}`, { cause });
    throw new ThornkeyError("NOT_PERMITTED", `the configuration ${path} may not be read (${code})`, {
      hint: "everybody may: there is nothing secret in it. chmod 644, and its folders 755",
      cause,
    });
  }
  return parseConfiguration(bytes, path);
}

/**
 * @param path names the file in messages
 * @throws ThornkeyError `MALFORMED`
 */
export async function parseConfiguration(bytes: Uint8Array, path: string): Promise<Configuration> {
  if (bytes.length > MOST_BYTES) throw new ThornkeyError("MALFORMED", `${path} is longer than ${MOST_BYTES} bytes`);
  const file = new TextDecoder().decode(bytes);
  const { parse, TomlError } = await import("smol-toml"); // most commands never need it
  let table: Record<string, unknown>;
  try {
    table = parse(file);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw new ThornkeyError("MALFORMED", `${path} is no TOML`, { cause });
    const [sentence = ""] = cause.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new ThornkeyError("MALFORMED", `${path}, line ${cause.line}: ${sentence}`, {
      hint: `write TOML: root = "tpm:/dev/tpmrm0"`,
      cause,
    });
  }
  const said: { [key: string]: string } = {};
  for (const [key, value] of Object.entries(table)) {
    const at = `${path}, line ${lineOf(file, key)}`;
    const read = Object.hasOwn(KEYS, key) ? KEYS[key as keyof Configuration] : undefined;
    if (read === undefined) {
      const name = JSON.stringify(key.slice(0, 60));
      const hint = `there are ${Object.keys(KEYS).join(", ")}`;
      throw new ThornkeyError("MALFORMED", `${at}: ${name} is no setting`, { hint });
    }
    try {
      said[key] = read(value);
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      throw new ThornkeyError("MALFORMED", `${at}: ${key} must be ${error.message}`, { hint: error.hint });
    }
  }
  return said;
}

/** A value that cannot be; the message says what it must be. */
class Unfit extends Error {
  override readonly name = "Unfit";
  readonly hint: string;

  constructor(wanted: string, hint = "correct the file, or give the option instead") {
    super(wanted);
    this.hint = hint;
  }
}

function text(value: unknown, shape: RegExp, wanted: string): string {
  if (typeof value !== "string" || !shape.test(value)) throw new Unfit(wanted);
  return value;
}

function folder(value: unknown): string {
  if (typeof value !== "string" || !isAbsolute(value) || /\p{Cc}/u.test(value)) throw new Unfit("an absolute path");
  return value;
}

function specification(value: unknown): string {
  const found = text(
    value,
    /^[^\p{Cc}]{1,1000}$/u,
    'a root specification, such as "tpm:/dev/tpmrm0", or several: ["…", "…"]',
  );
  if (/[?&]pin-value=/.test(found)) {
    throw new Unfit("without a PIN", "everybody may read this file: write pin-source=file:/path of a private one");
  }
  return found;
}

function notEmpty(values: readonly unknown[]): readonly unknown[] {
  if (values.length === 0) throw new Unfit("one root specification at least");
  return values;
}

/** The parser does not say where a key was: it is where a line begins with it. */
function lineOf(file: string, key: string): number {
  const name = key.replaceAll(/[^\p{L}\p{N}_\s-]/gu, "\\$&");
  const index = file
    .split("\n")
    .findIndex((line) => new RegExp(`^\\s*\\[*\\s*["']?${name}["']?\\s*[=.\\]]`).test(line));
  return index < 0 ? 1 : index + 1;
}

/** What a half is told besides what its command line says: the name of its option, and where the value comes from. */
const OF_HALF: {
  readonly [Name in HalfName]: { readonly [option: string]: (said: Configuration) => string | undefined };
} = {
  vault: {
    state: ({ state }) => process.env.THORNKEY_STATE ?? state ?? DEFAULTS.state,
    run: (said) => said["vault-run"] ?? runOf(said),
    root: ({ root }) => process.env.THORNKEY_ROOT ?? root,
    host: ({ host }) => host,
    "gate-uid": (said) => (said["gate-user"] === undefined ? undefined : `${uidOf(said["gate-user"])}`),
  },
  gate: {
    run: runOf,
    vault: (said) => (said["vault-run"] === undefined ? undefined : join(said["vault-run"], "vault.sock")),
  },
};

export const DEFAULTS = { state: "/var/lib/thornkey", run: "/run/thornkey" } as const;

function runOf({ run }: Configuration): string {
  return process.env.THORNKEY_RUN ?? run ?? DEFAULTS.run;
}

/**
 * The halves know of no file: what it says is put on their command line.
 *
 * @param args of `thornkey vault` or `thornkey gate`
 * @throws ThornkeyError as {@link readConfiguration}; `USAGE` when the gate's user is not there
 */
export async function argumentsOfHalf(name: HalfName, args: readonly string[]): Promise<readonly string[]> {
  if (args[0] === "repair") return args;
  const { config, rest } = withoutConfig(args);
  const said = await readConfiguration(config ?? process.env[VARIABLE]);
  const added = Object.entries(OF_HALF[name]).flatMap(([option, from]) => {
    if (rest.some((argument) => argument === `--${option}` || argument.startsWith(`--${option}=`))) return [];
    const value = from(said);
    return value === undefined ? [] : [`--${option}=${value}`];
  });
  return [...added, ...rest];
}

function withoutConfig(args: readonly string[]): { config: string | undefined; rest: readonly string[] } {
  const at = args.findIndex((argument) => argument === "--config" || argument.startsWith("--config="));
  const found = args[at];
  if (found === undefined) return { config: undefined, rest: args };
  const joined = found.startsWith("--config=");
  const config = joined ? found.slice("--config=".length) : args[at + 1];
  if (config === undefined) throw new ThornkeyError("USAGE", "--config needs a file");
  return { config, rest: args.toSpliced(at, joined ? 1 : 2) };
}

/** @throws ThornkeyError `USAGE` */
function uidOf(user: string): number {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${user}:`));
  const uid = Number(line?.split(":")[2] || Number.NaN);
  if (Number.isSafeInteger(uid)) return uid;
  throw new ThornkeyError("USAGE", `there is no user ${user}, whom the configuration names as the gate's`, {
    hint: "'systemd-sysusers' makes it, when 'thornkey setup' has been there",
  });
}
