import { Command, Option } from "commander";
import type { Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { describeSshCertificate, sshCertificateLine } from "../trust/authority/ssh.ts";
import {
  type Attached,
  allAttached,
  attach,
  attachedTo,
  createSelfSigned,
  describeCertificate,
  ledgerOf,
  readCertificate,
  renew,
} from "../trust/index.ts";
import { usageOf } from "../trust/x509/usages.ts";
import { type AskOptions, asking, collect, readInput, show, timeText, withVault, writeOutput } from "./ask.ts";
import { authorityCommands } from "./cert-authority.ts";
import { sshCommand } from "./cert-ssh.ts";
import {
  type AlgorithmOptions,
  algorithmOption,
  type DocumentOptions,
  days,
  each,
  usageWords,
  withOutput,
  writeChain,
} from "./documents.ts";
import { table } from "./output.ts";

/** `thornkey cert`: certificates, of X.509 and of OpenSSH. */
export function certCommand(): Command {
  const command = new Command("cert").description("certificates: made, kept with keys, renewed, revoked");
  command.addCommand(
    withOutput(asking("self", "have a key certify itself; the certificate is kept with it"))
      .argument("<key>")
      .requiredOption("--subject <dn>", "CN=NAME,… or /…/CN=NAME")
      .option("--san <name>", "dns:NAME, ip:ADDRESS, email:ADDRESS, uri:URI; as often as you like", each)
      .option("--usage <names>", usageWords(), collect)
      .option("--days <n>", "how long it holds; 365 without it", days)
      .option("--name <name>", "keep it under this name, and not the key's")
      .addOption(algorithmOption())
      .action(self),
  );
  for (const one of authorityCommands()) command.addCommand(one);
  command.addCommand(
    asking("attach", "keep a certificate, or a chain, with its key; takes the place of the one before")
      .argument("<key>")
      .argument("<file>", "PEM, DER, or a certificate of OpenSSH; - for standard input")
      .option("--name <name>", "keep it under this name, and not the key's")
      .option("--force", "also when it is another key's")
      .action(attachFile),
  );
  command.addCommand(
    asking("list", "the certificates that are kept with keys")
      .option("--issued <ca>", "those an authority has issued")
      .action(list),
  );
  command.addCommand(
    withOutput(asking("show", "a certificate that is kept with a key, and the chain above it"))
      .argument("<name>", "the key, or the certificate's name or id")
      .addOption(new Option("--kind <kind>", "when there are both").choices(["x509", "ssh"]))
      .option("--pem", "print the chain, leaf first, and not what it says")
      .action(showOne),
  );
  command.addCommand(
    withOutput(asking("renew", "the same certificate with a new validity; takes the place of the one before"))
      .argument("<key>")
      .option("--ca <ca>", "who issues it; looked for among the vault's own without it")
      .option("--days <n>", "how long it holds; as long as the one before without it", days)
      .option("--name <name>", "which, when the key has several")
      .addOption(algorithmOption())
      .action(renewOne),
  );
  command.addCommand(sshCommand());
  return command;
}

interface SelfOptions extends DocumentOptions, AlgorithmOptions {
  readonly subject: string;
  readonly san?: readonly string[];
  readonly usage?: readonly string[];
  readonly days?: number;
  readonly name?: string;
}

async function self(key: string, options: SelfOptions): Promise<void> {
  const { subject, san: names, days, name, algorithm } = options;
  const usages = options.usage?.map(usageOf);
  const wishes = { subject, names, usages, days, name, algorithm };
  const certificate = await withVault(options, (vault) => createSelfSigned(vault, key, wishes));
  writeChain(options, [certificate]);
}

async function attachFile(
  key: string,
  file: string,
  options: AskOptions & { name?: string; force?: boolean },
): Promise<void> {
  const { name, force } = options;
  const bytes = readInput(file);
  const object = await withVault(options, (vault) => attach(vault, key, bytes, { name, force }));
  if (options.json) show(options, object, () => []);
}

async function list(options: AskOptions & { issued?: string }): Promise<void> {
  const { issued } = options;
  await withVault(options, (vault) =>
    issued === undefined ? listAttached(vault, options) : listIssued(vault, options, issued),
  );
}

async function listAttached(vault: Thornkey, options: AskOptions): Promise<void> {
  const all = (await allAttached(vault)).map(({ keyName: key, ...one }) => ({ key, ...describe(one) }));
  const rows = all.map(({ name, kind, key, subject, until, id }) => [name, kind, key, subject, until, id]);
  show(options, all, () => table(["name", "kind", "key", "for", "until", "id"], rows));
}

function describe({ id, name, kind, value }: Attached) {
  if (kind === "ssh") {
    const said = describeSshCertificate(value);
    return { id, name, kind, subject: said.principals.join(", "), until: said.validBefore, certificate: said };
  }
  const certificate = describeCertificate(readCertificate(value));
  return { id, name, kind, subject: certificate.subject, until: certificate.notAfter, certificate };
}

async function listIssued(vault: Thornkey, options: AskOptions, authority: string): Promise<void> {
  const entries = await ledgerOf(vault, await vault.keys.show(authority));
  const all = await Promise.all(
    entries.map(async ({ id, kind, serial, created }) => {
      const { value } = await vault.objects.show(id);
      const subject =
        kind === "ssh"
          ? describeSshCertificate(value).principals.join(", ")
          : describeCertificate(readCertificate(value)).subject;
      return { serial, state: kind, issued: timeText(created), subject };
    }),
  );
  const rows = all.map(({ serial, state, issued, subject }) => [serial, state, issued, subject]);
  show(options, all, () => table(["serial", "state", "issued", "for"], rows));
}

interface ShowOptions extends DocumentOptions {
  readonly kind?: "x509" | "ssh";
  readonly pem?: boolean;
}

async function showOne(name: string, options: ShowOptions): Promise<void> {
  const attached = await withVault(options, (vault) => find(vault, name, options.kind));
  const { kind, value, chain } = attached;
  const asFile = options.pem || options.der || options.output !== undefined;
  if (asFile && kind === "ssh") {
    writeOutput(options.output, new TextEncoder().encode(sshCertificateLine(value, attached.name)));
  } else if (asFile) {
    writeChain({ ...options, json: false }, [value, ...chain].map(readCertificate));
  } else {
    const { certificate } = describe(attached);
    show(options, { id: attached.id, name: attached.name, kind, ...certificate, chain: chain.length }, () =>
      Object.entries(certificate).flatMap(([word, said]) => linesOf(word, said)),
    );
  }
}

function linesOf(word: string, said: unknown): string[] {
  const text = Array.isArray(said) ? said.join(", ") : `${said}`;
  return text === "" ? [] : [`${word.padEnd(12)}${text}`];
}

async function find(vault: Thornkey, name: string, kind: Attached["kind"] | undefined): Promise<Attached> {
  const key = await vault.keys.show(name).catch((error) => {
    if (error instanceof ThornkeyError && error.code === "KEY_NOT_FOUND") return undefined;
    throw error;
  });
  const all = key ? await attachedTo(vault, key) : await allAttached(vault);
  const found = all
    .filter((one) => kind === undefined || one.kind === kind)
    .filter((one) => key !== undefined || [one.id, one.name, one.name.slice(one.name.indexOf("/") + 1)].includes(name));
  const [first, second] = found;
  if (first === undefined) throw new ThornkeyError("FILE_NOT_FOUND", `no certificate '${name}' is kept here`);
  if (second === undefined) return first;
  throw new ThornkeyError("USAGE", `there are ${found.length} certificates '${name}'`, {
    hint: `say --kind, or which by its id: ${found.map((one) => `${one.id} (${one.kind} ${one.name})`).join(", ")}`,
  });
}

interface RenewOptions extends DocumentOptions, AlgorithmOptions {
  readonly ca?: string;
  readonly days?: number;
  readonly name?: string;
}

async function renewOne(key: string, options: RenewOptions): Promise<void> {
  const { ca: authority, days, name: which, algorithm } = options;
  const chain = await withVault(options, (vault) => renew(vault, key, { authority, days, which, algorithm }));
  writeChain(options, chain);
}
