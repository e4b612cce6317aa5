import { createHash } from "node:crypto";
import { isCancel, password } from "@clack/prompts";
import { Command } from "commander";
import { Secret } from "../bytes/secret.ts";
import type { Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { personMessage } from "../operations/persons.ts";
import { openPkcs11Root } from "../roots/pkcs11/index.ts";
import { parsePkcs11Location } from "../roots/pkcs11/location.ts";
import type { PublicKey, Root, SigningWay } from "../roots/root.ts";
import { type AskOptions, asking, readSecret, show, timeText, wholeNumber, withVault } from "./ask.ts";
import { note, table } from "./output.ts";

interface TokenOptions extends AskOptions {
  readonly token: string;
  readonly id: string;
  readonly pinFile?: string;
}

/** `thornkey user`: people who show with a token of theirs that they are there. */
export function userCommand(): Command {
  const command = new Command("user").description("people with tokens: enrol them, and show that they are there");
  command.addCommand(
    withToken(asking("enroll", "enrol somebody by the key on his token, which is in its reader now").argument("<name>"))
      .addHelpText("after", EXAMPLE)
      .action((name: string, options: TokenOptions) => enroll(name, options)),
  );
  command.addCommand(
    withToken(asking("prove", "show with a token that somebody is there, for a while").argument("<name>"))
      .option("--seconds <n>", "how long he counts as there", wholeNumber)
      .action((name: string, options: TokenOptions & { seconds?: number }) => prove(name, options)),
  );
  command.addCommand(
    asking("list", "who is enrolled, and who is there for you").action((options: AskOptions) =>
      withVault(options, async (vault) => {
        const users = await vault.users.list();
        show(options, users, () =>
          table(
            ["name", "key", "SHA-256 of the public key", ""],
            users.map(({ name, type, fingerprint, until }) => [
              ...[name, type, fingerprint.slice(0, 32)],
              until === undefined ? "" : `there until ${timeText(until)}`,
            ]),
          ),
        );
      }),
    ),
  );
  command.addCommand(
    asking("remove", "enrol somebody no longer")
      .argument("<name>")
      .action(async (name: string, options: AskOptions) => {
        await withVault(options, (vault) => vault.users.remove(name));
        if (options.json) show(options, { removed: name }, () => []);
      }),
  );
  return command;
}

const EXAMPLE = `
The key is the one of a PIV card's slot 9A (CKA_ID 01) unless --id names another. Examples:
  thornkey user enroll alice --token pkcs11:/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so
  thornkey key new payments --person alice
  thornkey user prove alice --token pkcs11:/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so`;

function withToken(command: Command): Command {
  return command
    .requiredOption("--token <spec>", "where the token is: pkcs11:/path/module.so?token=LABEL")
    .option("--id <hex>", "CKA_ID of the key on it", "01")
    .option("--pin-file <file>", "its PIN, - for standard input; without it you are asked");
}

async function enroll(name: string, options: TokenOptions): Promise<void> {
  await withKey(options, (sign) =>
    withVault(options, async (vault) => {
      const { signature, publicKey } = await answered(vault, name, sign);
      await vault.users.enroll({ name, publicKey, signature });
    }),
  );
  if (options.json) show(options, { enrolled: name }, () => []);
}

async function prove(name: string, options: TokenOptions & { seconds?: number }): Promise<void> {
  const { seconds } = options;
  const until = await withKey(options, (sign) =>
    withVault(options, async (vault) => {
      const { signature } = await answered(vault, name, sign);
      return vault.users.prove({ name, signature, ...(seconds !== undefined && { seconds }) });
    }),
  );
  show(options, { name, until }, () => [`${name} is there until ${timeText(until)}`]);
}

type Sign = (message: Uint8Array) => Promise<{ signature: Uint8Array; publicKey: Uint8Array }>;

async function answered(vault: Thornkey, name: string, sign: Sign) {
  const { challenge, device, uid } = await vault.users.challenge(name);
  return sign(personMessage(device, uid, name, challenge));
}

/** Has the token sign. The PIN is asked for before anything of the vault waits. */
export async function withKey<T>(
  options: Pick<TokenOptions, "token" | "id" | "pinFile">,
  use: (sign: Sign) => Promise<T>,
): Promise<T> {
  const location = parsePkcs11Location(options.token);
  const handle = `id:${options.id.toLowerCase()}`;
  const pin = location.pinSource === undefined ? await pinOf(options.pinFile) : undefined;
  const root = await openPkcs11Root(location, { pin });
  try {
    return await use(async (message) => {
      const key = await root.publicKey(handle);
      return { signature: await signed(root, handle, key, message), publicKey: key.spki };
    });
  } finally {
    await root.close();
  }
}

function signed(root: Root, handle: string, { algorithm }: PublicKey, message: Uint8Array): Promise<Uint8Array> {
  const name = algorithm === "p384" ? "sha384" : "sha256";
  const digest = new Uint8Array(createHash(name).update(message).digest());
  const way: SigningWay = algorithm.startsWith("rsa") ? { scheme: "rsa-pkcs1", digest: "sha256" } : { scheme: "ecdsa" };
  note("if the token blinks, touch it");
  return root.sign(handle, digest, way);
}

async function pinOf(file: string | undefined): Promise<Secret> {
  if (file !== undefined) {
    const bytes = readSecret(file);
    const end = bytes.at(-1) === 10 ? bytes.length - 1 : bytes.length;
    const pin = new Secret(new Uint8Array(bytes.subarray(0, end)));
    bytes.fill(0);
    return pin;
  }
  if (!process.stdin.isTTY) {
    throw new ThornkeyError("USAGE", "nobody is here to give the token's PIN", {
      hint: "--pin-file FILE, or - for standard input",
    });
  }
  const answer = await password({ message: "The token's PIN", output: process.stderr });
  if (isCancel(answer)) throw new ThornkeyError("ABORTED", "nothing was done");
  return new Secret(new TextEncoder().encode(answer));
}
