#!/usr/bin/env node
/**
 * `age-plugin-thornkey`: stock age encrypts to the vault and decrypts with it. age starts it by its name, with
 * `--age-plugin=…`; by hand it prints an identity file.
 *
 *     age-plugin-thornkey [--run DIR] [--key NAME]
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
import { identityFile } from "./age/identity-file.ts";
import { CONVERSATIONS } from "./age/plugin.ts";
import { note } from "./output.ts";

const OPTIONS = { "age-plugin": { type: "string" }, run: { type: "string" }, key: { type: "string" } } as const;

try {
  const { values } = parsed();
  const name = values["age-plugin"];
  if (name === undefined) process.stdout.write(await identityFile(values));
  else await converse(name);
} catch (error) {
  const code = error instanceof ThornkeyError ? error.code : "FAILED";
  note(`age-plugin-thornkey: ${code}: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = ERROR_CODES[code].exit;
}

function parsed() {
  try {
    return parseArgs({ options: OPTIONS });
  } catch (cause) {
    throw new ThornkeyError("USAGE", (cause as Error).message, { cause });
  }
}

async function converse(name: string): Promise<void> {
  const conversation = Object.hasOwn(CONVERSATIONS, name) ? CONVERSATIONS[name] : undefined;
  if (conversation === undefined) throw new ThornkeyError("NOT_SUPPORTED", `this age speaks ${name.slice(0, 40)}`);
  const input = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  await conversation({ lines: input[Symbol.asyncIterator](), say: (text) => void process.stdout.write(text) });
  input.close();
}
