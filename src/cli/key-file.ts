/** `thornkey key file`, and the authorisation of key files of a TPM. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { readPrivateFile, writeAtomically } from "../machine/atomic-file.ts";
import { printable } from "../roots/tpm/auth.ts";
import { type AskOptions, asking, show, withVault, writeOutput } from "./ask.ts";
import { note } from "./output.ts";

interface FileOptions extends AskOptions {
  readonly output?: string;
  readonly authFile?: string;
  readonly auth: boolean;
}

export function keyFileCommand(): Command {
  return asking("file", "a key of a TPM as a file (TSS2 PEM), with which other programs use it in this TPM")
    .argument("<name>")
    .option("-o, --output <file>", "write it there")
    .option("--auth-file <file>", "what they must show; made, and written there, when the file does not exist")
    .option("--no-auth", "they need to show nothing: whoever has the file, and may open the TPM, uses the key")
    .addHelpText(
      "after",
      "\nThe private part stays in the TPM. But who uses the file is not asked by the vault: no policy, no journal.",
    )
    .action(keyFile);
}

async function keyFile(name: string, options: FileOptions): Promise<void> {
  const { authFile, output } = options;
  if ((authFile === undefined) === options.auth) {
    throw new ThornkeyError("USAGE", "say what other programs must show to use the key", {
      hint: "--auth-file FILE, or --no-auth: one of them",
    });
  }
  using given = authFile !== undefined && existsSync(authFile) ? readAuth(authFile) : undefined;
  using made = authFile !== undefined && given === undefined ? newAuth() : undefined;
  const auth = given ?? made;
  if (authFile !== undefined && made !== undefined) made.use((bytes) => writeAtomically(authFile, bytes));
  const file = await withVault(options, (vault) => vault.keys.file(name, { auth }));
  if (options.json) show(options, { file: new TextDecoder().decode(file) }, () => []);
  else writeOutput(output, file, output === undefined ? undefined : 0o600);
  if (auth === undefined) note(`whoever has the file uses ${name}, without the vault knowing`);
}

/** Bytes of an authorisation: more a TPM does not take. */
const LONGEST = 32;
const NEWLINE = 0x0a;

/**
 * @returns what a file holds, without the newline at its end
 * @throws ThornkeyError `FILE_NOT_FOUND`, `NOT_PERMITTED`, `USAGE`
 */
export function readAuth(path: string): Secret {
  using whole = readPrivateFile(path);
  return whole.use((bytes) => {
    const length = bytes.at(-1) === NEWLINE ? bytes.length - 1 : bytes.length;
    if (length < 1 || length > LONGEST) {
      throw new ThornkeyError("USAGE", `${path} holds ${length} bytes, and an authorisation has 1 to ${LONGEST}`);
    }
    return new Secret(bytes.slice(0, length));
  });
}

/** @returns 32 characters with 192 random bits, which other programs take as a passphrase */
function newAuth(): Secret {
  const random = randomBytes(24);
  try {
    return new Secret(printable(random));
  } finally {
    random.fill(0);
  }
}
