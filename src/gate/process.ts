/** The gate as a process: `node main.ts --run DIR [--vault SOCKET]`. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
import type { Identify } from "./callers.ts";
import { type Gate, startGate } from "./gate.ts";

/** How long connections may take to end before the process does, in milliseconds. */
const END_MILLISECONDS = 5000;

/**
 * Runs until SIGTERM or SIGINT. Prints `ready` when every front serves; the vault need not be there yet.
 *
 * @param args command line without the program
 * @param identify tells who is at the other end of a connection
 */
export async function runGate(args: readonly string[], identify: Identify): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
  let gate: Gate;
  try {
    const { run, vault } = parse(args);
    gate = await startGate({ run, vault, identify, version: ownVersion() });
  } catch (error) {
    complain(error);
    return;
  }
  process.stdout.write("ready\n");
  await ended;
  setTimeout(() => process.exit(), END_MILLISECONDS).unref();
  await gate.close();
}

function parse(args: readonly string[]): { run: string; vault: string | undefined } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { run: { type: "string" }, vault: { type: "string" } },
    });
    if (values.run === undefined) throw new Error("--run is needed");
    return { run: values.run, vault: values.vault };
  } catch (cause) {
    throw new ThornkeyError("USAGE", (cause as Error).message, { hint: "--run DIR [--vault SOCKET]", cause });
  }
}

function complain(error: unknown): void {
  const known = error instanceof ThornkeyError ? error : new ThornkeyError("FAILED", String(error));
  process.stderr.write(`thornkey: ${known.code}: ${known.message}\n`);
  if (known.hint !== undefined) process.stderr.write(`hint: ${known.hint}\n`);
  process.exitCode = ERROR_CODES[known.code].exit;
}

/** The version of the package this file belongs to. */
function ownVersion(): string {
  return JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
}
