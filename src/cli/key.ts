import { Command, Option } from "commander";
import { Secret } from "../bytes/secret.ts";
import {
  type KeyInfo,
  type KeySummary,
  PUBLIC_KEY_FORMATS,
  type PublicKeyFormat,
  publicKeyAs,
} from "../client/index.ts";
import { unlockBuffer, vaultOpener } from "../client/locking/index.ts";
import { ThornkeyError } from "../errors.ts";
import { encodeTagRecipient } from "../operations/age-recipients.ts";
import { KEY_TYPE_NAMES, type KeyType } from "../operations/key-types.ts";
import { type AskOptions, asking, readInput, show, timeText, whoOf, withVault, writeOutput } from "./ask.ts";
import { mustSayYes } from "./ask-owner.ts";
import { keyFileCommand, readAuth } from "./key-file.ts";
import {
  fixedOf,
  ingredientOf,
  type NewKeyOptions,
  onlyOne,
  type PolicyOptions,
  policyOf,
  withFixedOptions,
  withPolicyOptions,
} from "./key-options.ts";
import { table } from "./output.ts";

/** `thornkey key`: the keys of the vault. */
export function keyCommand(): Command {
  const command = new Command("key").description("keys: made, taken in, shown, destroyed");
  const type = (text: string) => new Option("--type <type>", text).choices(KEY_TYPE_NAMES);
  command.addCommand(
    withPolicyOptions(withFixedOptions(asking("new", "make a key")))
      .argument("<name>", "NAME, or NAMESPACE/NAME")
      .addOption(type("what key").default("p256"))
      .option("--resident", "inside the root, which it cannot leave; fails where the root cannot")
      .option("--wrapped", "in the vault, sealed by the root")
      .action(newKey),
  );
  command.addCommand(asking("list", "the keys you have any right on").action(listKeys));
  command.addCommand(asking("show", "all that is known of a key").argument("<name>").action(showKey));
  command.addCommand(
    asking("public", "the public part of a key")
      .argument("<name>")
      .addOption(
        new Option("--format <format>", "how to write it").choices([...PUBLIC_KEY_FORMATS, "age"]).default("pem"),
      )
      .option("-o, --output <file>", "write it there")
      .action(publicKey),
  );
  command.addCommand(
    withPolicyOptions(
      withFixedOptions(
        asking(
          "import",
          "take a key in: PEM, DER, OpenSSH, JWK, raw bytes, TSS2 PEM; or any of them locked to this vault",
        ),
      ),
    )
      .argument("<name>")
      .argument("<file>", "- for standard input")
      .addOption(type("for raw bytes: what key they are"))
      .option("--auth-file <file>", "for a key file of a TPM (TSS2 PEM): the file's authorisation, when it has one")
      .action(importKey),
  );
  command.addCommand(keyFileCommand());
  command.addCommand(
    asking("delete", "destroy a key, for ever").argument("<name>").option("--yes", "do not ask").action(deleteKey),
  );
  command.addCommand(
    withPolicyOptions(asking("policy", "change who may use a key, and how; shows it without options"))
      .argument("<name>")
      .option("--revoke <who>", "take all rights from somebody", (who, all: readonly string[] = []) => [...all, who])
      .option("--no-rate", "no limit any more")
      .option("--no-confirm", "nobody needs to confirm any more")
      .option("--no-record-uses", "uses are not in the journal any more")
      .action(changePolicy),
  );
  return command;
}

const PROTECTIONS = ["resident", "wrapped"] as const;

interface NewOptions extends AskOptions, NewKeyOptions {
  readonly type: KeyType;
  readonly resident?: boolean;
  readonly wrapped?: boolean;
}

async function newKey(name: string, options: NewOptions): Promise<void> {
  const { type, resident, wrapped } = options;
  onlyOne(resident, wrapped, "--resident and --wrapped");
  using ingredient = ingredientOf(options);
  const protection = PROTECTIONS.find((word) => options[word]);
  const made = { name, type, protection, fixed: fixedOf(options), policy: policyOf(options), ingredient };
  const info = await withVault(options, (vault) => vault.keys.create(made));
  show(options, info, () => [summaryOf(info)]);
}

function summaryOf({ name, type, protection, root, id }: KeyInfo): string {
  return `${name}: ${type}, ${protection} in ${root}, id ${id}`;
}

async function listKeys(options: AskOptions): Promise<void> {
  const keys = await withVault(options, async (vault) => {
    const all: KeySummary[] = [];
    for await (const key of vault.keys.list()) all.push(key);
    return all;
  });
  const rows = keys.map((key) => [key.name, key.type, key.protection, `${key.owner}`, key.rights.join(","), key.id]);
  show(options, keys, () => table(["name", "type", "protection", "owner", "you may", "id"], rows));
}

async function showKey(name: string, options: AskOptions): Promise<void> {
  const info = await withVault(options, (vault) => vault.keys.show(name));
  show(options, info, () => linesOf(info));
}

function linesOf(info: KeyInfo): string[] {
  const rows: (readonly [string, string])[] = [
    ["name", info.name],
    ["id", info.id],
    ["type", info.type],
    ["held", `${info.protection}: ${info.root}`],
    ["owner", `uid ${info.owner}`],
    ["made", `${timeText(info.created)}, ${info.origin}`],
    ["you may", info.rights.join(", ") || "nothing"],
    ["uses", `${info.uses.total}, since the start ${info.uses.thisBoot}`],
    ...(info.policy.allow ?? []).map(({ who, rights }) => ["allowed", `${who}: ${rights.join(", ")}`] as const),
    ...info.enforced.map(({ line, by }) => ["policy", `${line} (by the ${by})`] as const),
  ];
  return rows.map(([word, value]) => `${word.padEnd(9)}${value}`);
}

interface PublicOptions extends AskOptions {
  readonly format: PublicKeyFormat | "age";
  readonly output?: string;
}

async function publicKey(name: string, options: PublicOptions): Promise<void> {
  if (options.format === "age") {
    const key = await withVault(options, (vault) => vault.storage.publicKey({ key: name }));
    const [tagpq, tag] = [encodeTagRecipient("tagpq", key), encodeTagRecipient("tag", key)];
    if (options.json) show(options, { tagpq, tag }, () => []);
    else writeOutput(options.output, new TextEncoder().encode(`${tagpq}\n${tag}\n`));
    return;
  }
  const { type, publicKey: spki } = await withVault(options, (vault) => vault.keys.public(name));
  if (type === "storage") {
    throw new ThornkeyError("NOT_SUPPORTED", `${name} is a storage key, which has no form ${options.format}`);
  }
  if (options.json) {
    show(options, { type, publicKey: spki }, () => []);
    return;
  }
  const text = publicKeyAs(options.format, spki, name);
  const line = typeof text === "string" && !text.endsWith("\n") ? `${text}\n` : text;
  writeOutput(options.output, typeof line === "string" ? new TextEncoder().encode(line) : line);
}

async function importKey(
  name: string,
  file: string,
  options: AskOptions & NewKeyOptions & { type?: KeyType; authFile?: string },
): Promise<void> {
  using ingredient = ingredientOf(options);
  using auth = options.authFile === undefined ? undefined : readAuth(options.authFile);
  using given = new Secret(readInput(file));
  const { type } = options;
  const info = await withVault(options, async (vault) => {
    // Somebody who injects a key locks it to this vault where he is; here it is never in clear on a disk.
    using unlocked = given.use(isAge)
      ? await unlockBuffer(
          given.use((bytes) => bytes.slice()),
          vaultOpener(vault.storage),
        )
      : undefined;
    const material = unlocked ?? given;
    const wanted = { name, type, fixed: fixedOf(options), policy: policyOf(options), ingredient };
    return vault.keys.import({ ...wanted, material, auth });
  });
  show(options, info, () => [summaryOf(info)]);
}

const AGE_BEGINNINGS = ["age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----"];

function isAge(bytes: Uint8Array): boolean {
  const beginning = Buffer.from(bytes.subarray(0, 40)).toString("latin1");
  return AGE_BEGINNINGS.some((text) => beginning.startsWith(text));
}

async function deleteKey(name: string, options: AskOptions & { yes?: boolean }): Promise<void> {
  // A script that says delete means it; at a terminal it may be the wrong window.
  if (process.stdin.isTTY) await mustSayYes(`Destroy the key ${name} for ever?`, options.yes);
  await withVault(options, (vault) => vault.keys.delete(name));
  if (options.json) show(options, { deleted: name }, () => []);
}

interface ChangeOptions extends AskOptions, Omit<PolicyOptions, "rate"> {
  readonly rate?: PolicyOptions["rate"] | false;
  readonly revoke?: readonly string[];
}

/** Adds to and takes from whom a key is allowed; the vault itself replaces the whole list. */
async function changePolicy(name: string, options: ChangeOptions): Promise<void> {
  const { revoke = [], rate, allow = [], ...rest } = options;
  const info = await withVault(options, async (vault) => {
    const before = await vault.keys.show(name);
    const gone = new Set([...revoke.map(whoOf), ...allow.map(({ who }) => who)]);
    const kept = (before.policy.allow ?? []).filter(({ who }) => !gone.has(who));
    const grants = gone.size > 0 ? { allow: [...kept, ...allow] } : {};
    const policy = policyOf({ ...rest, ...grants, ...(rate && { rate }) });
    const remove = rate === false ? (["rate"] as const) : undefined;
    if (policy === undefined && remove === undefined) return before;
    return vault.keys.policy(name, { policy: policy ?? {}, ...(remove && { remove: [...remove] }) });
  });
  show(options, info, () => linesOf(info));
}
