import { createPublicKey } from "node:crypto";
import { Command, InvalidArgumentError, Option } from "commander";
import { fromHex, toHex } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";
import type { KeyInfo, Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { pointOf } from "../operations/public-keys.ts";
import { WALLET_TYPES, WALLET_VARIANTS } from "../operations/table.ts";
import { type AskOptions, asking, readInput, show, wholeNumber, withVault, writeOutput } from "./ask.ts";
import { fixedOf, type NewKeyOptions, policyOf, withFixedOptions, withPolicyOptions } from "./key-options.ts";
import { note, table } from "./output.ts";

type WalletType = (typeof WALLET_TYPES)[number];

/** `thornkey wallet`: trees of keys derived from one secret. */
export function walletCommand(): Command {
  const command = new Command("wallet").description("wallets: trees of keys derived from one secret (BIP32, SLIP-39)");
  command.addCommand(
    withSecretOptions(withNewOptions(asking("new", "make a wallet; its mnemonic or its shares are printed once")))
      .option("--shares <needed/members>", "shares of SLIP-39 instead of a mnemonic; once for each group", shares)
      .option("--groups <n>", "so many groups of shares are needed; all of them without it")
      .option("--no-mnemonic", "nothing that restores it")
      .option("-o, --output <file>", "write mnemonic or shares there, for you alone to read")
      .action(newWallet),
  );
  command.addCommand(
    withSecretOptions(withNewOptions(asking("restore", "make a wallet's master again; its keys are derived anew")))
      .argument("<file>", "the mnemonic, or shares one a line; - for standard input")
      .option("--shares", "the file has shares of SLIP-39")
      .action(restoreWallet),
  );
  command.addCommand(
    withPolicyOptions(withFixedOptions(asking("child", "derive a key below a wallet key, which is a use of that")))
      .argument("<key>", "the master, or another key of the wallet")
      .argument("<path>", "from there on: 0', or 44'/0'/0'/0/5")
      .argument("<name>", "what the new key is called")
      .action(deriveChild),
  );
  command.addCommand(
    withNewOptions(asking("watch", "take in a node of another wallet, to see its keys and not use them"))
      .requiredOption("--path <path>", "where the node is in its wallet: m/44'/0'/0'")
      .requiredOption("--public-key <file>", "its public key: PEM, DER, or the point itself; - for standard input")
      .requiredOption("--chain-code <hex>", "its chain code: 64 hexadecimal digits", chainCode)
      .action(watchWallet),
  );
  command.addCommand(
    asking("show", "where a key is in its wallet; all wallets without a name")
      .argument("[name]", "a key of a wallet")
      .option("--chain-code", "its chain code too, for a wallet that watches; only of a hardened key")
      .action(showWallet),
  );
  return command;
}

interface NewOptions extends AskOptions, NewKeyOptions {
  readonly type: WalletType;
  readonly variant?: (typeof WALLET_VARIANTS)[number];
  readonly wallet?: string;
}

interface SecretOptions {
  readonly passphraseFile?: string;
  readonly generatorKeyFile?: string;
}

function withNewOptions(command: Command): Command {
  return withPolicyOptions(command)
    .argument("<name>", "what the first key is called: NAME, or NAMESPACE/NAME")
    .addOption(new Option("--type <type>", "curve of its keys").choices(WALLET_TYPES).default("secp256k1"))
    .addOption(new Option("--variant <variant>", "of ed25519: how keys are derived").choices(WALLET_VARIANTS))
    .option("--wallet <name>", "what the wallet is called; without it as its first key");
}

/** Secrets are never arguments: those everybody on the device can read. */
function withSecretOptions(command: Command): Command {
  return command
    .option("--passphrase-file <file>", "the passphrase of mnemonic or shares; - for standard input")
    .option("--generator-key-file <file>", "bytes without which mnemonic or shares open another wallet");
}

interface Group {
  readonly members: number;
  readonly membersNeeded: number;
}

interface CreateOptions extends NewOptions, SecretOptions {
  readonly shares?: readonly Group[];
  readonly groups?: string;
  readonly mnemonic: boolean;
  readonly output?: string;
}

async function newWallet(name: string, options: CreateOptions): Promise<void> {
  const { shares: groups, mnemonic: wanted, output, json } = options;
  if (json && wanted && (output === undefined || output === "-")) {
    throw new ThornkeyError("USAGE", "a secret is never JSON", { hint: "'-o FILE' writes it into a file" });
  }
  if (!wanted && groups !== undefined) throw new ThornkeyError("USAGE", "--shares or --no-mnemonic, not both");
  using secrets = secretsOf(options);
  const made = { ...wishesOf(name, options), ...secrets.given };
  const info = await withVault(options, async (vault) => {
    if (groups !== undefined) return makeShares(vault, made, groups, options);
    const { key, mnemonic } = await vault.wallets.create({ ...made, recovery: wanted ? "bip39" : "none" });
    using words = mnemonic;
    if (wanted && words === undefined) throw lost(key);
    words?.use((bytes) => writeLines(output, bytes));
    return key;
  });
  if (json) show(options, info, () => []);
  else note(summaryOf(info));
}

async function makeShares(
  vault: Thornkey,
  made: ReturnType<typeof wishesOf>,
  groups: readonly Group[],
  { groups: needed, output }: CreateOptions,
): Promise<KeyInfo> {
  const groupsNeeded = needed === undefined ? groups.length : wholeNumber(needed);
  const all: Secret[] = [];
  const { shares: sharing } = vault.wallets;
  await sharing.begin({ ...made, groups: groups.length, groupsNeeded });
  let info: KeyInfo | undefined;
  try {
    for (const [group, spec] of groups.entries()) {
      await sharing.group({ group, ...spec });
      for (let member = 0; member < spec.members; member++) {
        const { mnemonic, key } = await sharing.member();
        if (mnemonic === undefined) throw lost(key);
        all.push(mnemonic);
        info = key;
      }
    }
    using lines = new Secret(joined(all));
    lines.use((bytes) => writeLines(output, bytes));
  } catch (error) {
    if (info === undefined) await sharing.cancel().catch(() => {}); // it may have ended by itself
    throw error;
  } finally {
    for (const share of all) share.destroy();
  }
  if (info === undefined) throw new ThornkeyError("FAILED", "the vault made no key of the shares");
  return info;
}

async function restoreWallet(
  name: string,
  file: string,
  options: NewOptions & SecretOptions & { readonly shares?: boolean },
): Promise<void> {
  if (file === "-" && [options.passphraseFile, options.generatorKeyFile].includes("-")) {
    throw new ThornkeyError("USAGE", "standard input can be only one of them");
  }
  using given = new Secret(readInput(file));
  using secrets = secretsOf(options);
  const made = { ...wishesOf(name, options), ...secrets.given };
  const info = await withVault(options, async (vault) => {
    if (!options.shares) return vault.wallets.restore({ ...made, mnemonic: given });
    const { shares: restoring } = vault.wallets;
    await restoring.restore(made);
    try {
      for (const line of given.use(linesOf)) {
        using mnemonic = new Secret(line);
        const key = await restoring.add({ mnemonic });
        if (key !== undefined) return key;
      }
    } catch (error) {
      await restoring.cancel().catch(() => {});
      throw error;
    }
    await restoring.cancel();
    throw new ThornkeyError("MALFORMED", "these shares do not make a wallet together", {
      hint: "there are too few of them, or some belong to another wallet",
    });
  });
  show(options, info, () => [summaryOf(info)]);
}

async function deriveChild(
  key: string,
  path: string,
  name: string,
  options: AskOptions & NewKeyOptions,
): Promise<void> {
  const made = { path, name, fixed: fixedOf(options), policy: policyOf(options) };
  const info = await withVault(options, async (vault) => (await vault.wallets.child(key, made)).key);
  show(options, info, () => [summaryOf(info)]);
}

interface WatchOptions extends NewOptions {
  readonly path: string;
  readonly publicKey: string;
  readonly chainCode: Uint8Array;
}

async function watchWallet(name: string, options: WatchOptions): Promise<void> {
  const { path, chainCode: code } = options;
  const publicKey = pointIn(readInput(options.publicKey), options.type);
  const info = await withVault(options, (vault) =>
    vault.wallets.watch({ ...wishesOf(name, options), path, publicKey, chainCode: code }),
  );
  show(options, info, () => [summaryOf(info)]);
}

async function showWallet(name: string | undefined, options: AskOptions & { chainCode?: boolean }): Promise<void> {
  if (name === undefined) {
    const wallets = await withVault(options, (vault) => vault.wallets.list());
    const rows = wallets.map((one) => [
      ...[one.name, one.key, [one.type, one.variant ?? ""].join(" ").trim()],
      ...[one.watchOnly ? "watches" : "", `${one.keys}`],
    ]);
    show(options, wallets, () => table(["wallet", "first key", "type", "", "keys"], rows));
    return;
  }
  const { chainCode: code } = options;
  const address = await withVault(options, (vault) => vault.wallets.address(name, code ? { chainCode: true } : {}));
  show(options, address, () => [
    `wallet     ${address.wallet}`,
    `path       ${address.path}`,
    `first key  ${address.masterId}`,
    ...(address.chainCode ? [`chain code ${toHex(address.chainCode)}`] : []),
  ]);
}

function wishesOf(name: string, options: NewOptions) {
  const { type, variant, wallet } = options;
  return { name, type, variant, wallet, policy: policyOf(options) };
}

/** Secrets of files, to be destroyed. A line end behind a passphrase is none of it. */
function secretsOf({ passphraseFile, generatorKeyFile }: SecretOptions) {
  if (passphraseFile === "-" && generatorKeyFile === "-") {
    throw new ThornkeyError("USAGE", "standard input can be only one of them");
  }
  const passphrase = passphraseFile === undefined ? undefined : new Secret(firstLine(readInput(passphraseFile)));
  const generatorKey = generatorKeyFile === undefined ? undefined : new Secret(readInput(generatorKeyFile));
  return {
    given: { passphrase, generatorKey },
    [Symbol.dispose]() {
      passphrase?.destroy();
      generatorKey?.destroy();
    },
  };
}

const LINE_END = 0x0a;

/** Zeroes what it is given. */
function firstLine(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(LINE_END);
  const line = bytes.slice(0, end < 0 ? bytes.length : bytes[end - 1] === 0x0d ? end - 1 : end);
  bytes.fill(0);
  return line;
}

/** @returns copies of the lines that are not blank */
function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(LINE_END, start);
    const line = bytes.slice(start, end < 0 ? bytes.length : end);
    if (line.some((byte) => byte > 0x20)) lines.push(line);
    start = end < 0 ? bytes.length : end + 1;
  }
  return lines;
}

/** With line ends between. */
function joined(secrets: readonly Secret[]): Uint8Array {
  const length = secrets.reduce((sum, secret) => sum + secret.length + 1, -1);
  const all = new Uint8Array(length).fill(LINE_END);
  let position = 0;
  for (const secret of secrets) {
    secret.use((bytes) => all.set(bytes, position));
    position += secret.length + 1;
  }
  return all;
}

function writeLines(output: string | undefined, bytes: Uint8Array): void {
  using line = new Secret(new Uint8Array(bytes.length + 1).fill(LINE_END));
  line.use((target) => {
    target.set(bytes);
    writeOutput(output, target, 0o600);
  });
}

function summaryOf({ name, type, wallet, id }: KeyInfo): string {
  return `${name}: ${type}, ${wallet?.path} of wallet ${wallet?.name}, id ${id}`;
}

/** @returns X and Y, or what the file holds: the vault looks at it */
function pointIn(bytes: Uint8Array, type: WalletType): Uint8Array {
  try {
    const pem = bytes[0] === 0x2d;
    const key = createPublicKey(
      pem ? Buffer.from(bytes) : { key: Buffer.from(bytes), format: "der" as const, type: "spki" as const },
    );
    const spki = new Uint8Array(key.export({ type: "spki", format: "der" }));
    return pointOf(type, spki) ?? bytes;
  } catch {
    return bytes;
  }
}

function shares(text: string, before: readonly Group[] = []): readonly Group[] {
  const [, needed, members] = /^(\d{1,2})\/(\d{1,2})$/.exec(text) ?? [];
  if (needed === undefined || members === undefined) throw new InvalidArgumentError("Write 2/3 for two of three.");
  return [...before, { members: Number(members), membersNeeded: Number(needed) }];
}

function chainCode(text: string): Uint8Array {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) throw new InvalidArgumentError("A chain code has 64 hexadecimal digits.");
  return fromHex(text);
}

function lost(key: KeyInfo | undefined): ThornkeyError {
  return new ThornkeyError("OUTCOME_UNKNOWN", "the wallet was made, and the answer with what restores it was lost", {
    hint:
      key === undefined
        ? "begin again"
        : `nothing depends on it yet: thornkey key delete ${key.name}, and make another`,
  });
}
