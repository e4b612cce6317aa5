/** What the commands that ask a vault have in common. */
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { Command } from "commander";
import { connect, type Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { writeAtomically } from "../machine/atomic-file.ts";
import { printJson } from "./output.ts";
import { runOption } from "./up.ts";

export interface AskOptions {
  readonly run: string;
  readonly json?: boolean;
}

/** A command that asks the vault: `--run`, and `--json` for what it prints. */
export function asking(name: string, description: string): Command {
  return new Command(name).description(description).addOption(runOption()).option("--json", "print JSON");
}

/** Connects, does it, and closes the connection whatever happens. */
export async function withVault<T>({ run }: AskOptions, action: (vault: Thornkey) => Promise<T>): Promise<T> {
  await using vault = await connect({ run });
  return await action(vault);
}

/** Prints what the vault answered: JSON with bytes as the HTTP interface has them (base64url), or lines for a person. */
export function show(options: AskOptions, value: unknown, lines: () => readonly string[]): void {
  if (options.json) printJson(readable(value));
  else for (const line of lines()) process.stdout.write(`${line}\n`);
}

function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64url");
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, readable(inner)]));
}

/**
 * @param path a file, or `-` or nothing for standard input
 * @throws ThornkeyError `FILE_NOT_FOUND`, `NOT_PERMITTED`, `FAILED`
 */
export function readInput(path: string | undefined): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path === undefined || path === "-" ? 0 : path));
  } catch (cause) {
    throw fileError(path ?? "standard input", cause);
  }
}

/**
 * Reads a secret: what comes back is the only copy, which the caller zeroes.
 *
 * @param path a file, or `-` for standard input
 * @throws ThornkeyError `FILE_NOT_FOUND`, `NOT_PERMITTED`, `FAILED`
 */
export function readSecret(path: string): Buffer {
  try {
    return readFileSync(path === "-" ? 0 : path);
  } catch (cause) {
    throw fileError(path === "-" ? "standard input" : path, cause);
  }
}

/**
 * Writes a result: to a file, or for `-` and nothing to standard output.
 *
 * @param mode of a new file; 0o600 makes a new file also where one is
 */
export function writeOutput(path: string | undefined, bytes: Uint8Array, mode = 0o666): void {
  try {
    if (path === undefined || path === "-") {
      for (let written = 0; written < bytes.length; ) written += writeSync(1, bytes, written);
      return;
    }
    if (mode === 0o600 && (statSync(path, { throwIfNoEntry: false })?.isFile() ?? true)) {
      writeAtomically(path, bytes, mode); // a new file: what is there others may have open
      return;
    }
    const file = openSync(path, "w", mode);
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    if (cause instanceof ThornkeyError) throw cause;
    throw fileError(path ?? "standard output", cause);
  }
}

const FILE_ERRORS: { readonly [code: string]: readonly ["FILE_NOT_FOUND" | "NOT_PERMITTED" | "USAGE", string] } = {
  ENOENT: ["FILE_NOT_FOUND", "is not there"],
  EACCES: ["NOT_PERMITTED", "may not be opened"],
  EISDIR: ["USAGE", "is a folder"],
};

export function fileError(path: string, cause: unknown): ThornkeyError {
  const { code = "", message } = cause as NodeJS.ErrnoException;
  const [known, words] = FILE_ERRORS[code] ?? ["FAILED", `failed: ${message}`];
  return new ThornkeyError(known as "FAILED", `${path} ${words}`, { cause });
}

/** @returns a time in milliseconds since 1970 as people write it */
export function timeText(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, "Z");
}

/** For options that may be given several times, or with commas. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...value.split(",").filter((part) => part !== "")];
}

/** @throws ThornkeyError `USAGE` */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new ThornkeyError("USAGE", `'${text}' is no whole number`);
  return Number(text);
}

/** `me` is the caller's own uid. */
export function whoOf(text: string): string {
  return text === "me" ? `uid:${process.getuid?.() ?? 0}` : text;
}
