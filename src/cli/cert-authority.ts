import { type Command, Option } from "commander";
import { ThornkeyError } from "../errors.ts";
import { attachChain } from "../trust/attached.ts";
import { PROFILE_NAMES } from "../trust/authority/profiles.ts";
import {
  createAuthority,
  createRevocationList,
  documentsIn,
  encodeName,
  issue,
  type ProfileName,
  readRequest,
  revoke,
} from "../trust/index.ts";
import { REVOCATION_REASONS, reasonOf } from "../trust/x509/revocation-list.ts";
import { type AskOptions, asking, readInput, show, timeText, wholeNumber, withVault } from "./ask.ts";
import {
  type AlgorithmOptions,
  algorithmOption,
  type DocumentOptions,
  days,
  each,
  withOutput,
  writeChain,
  writeDocuments,
} from "./documents.ts";
import { note } from "./output.ts";

/** `thornkey cert ca`, `issue`, `revoke`, `crl`: an authority of one's own. */
export function authorityCommands(): readonly Command[] {
  const ca = withOutput(asking("ca", "make a key a certificate authority, a root or one below another"))
    .argument("<key>")
    .requiredOption("--subject <dn>", "CN=NAME,… or /…/CN=NAME")
    .option("--parent <ca>", "the authority above it; without it the key certifies itself")
    .option("--path-length <n>", "how many authorities may stand below it", wholeNumber)
    .option("--days <n>", "how long it holds", days)
    .option("--crl-url <url>", "where the parent's list of revoked ones is to be had")
    .addOption(algorithmOption())
    .action(makeAuthority);
  const issueOne = withOutput(asking("issue", "certify a key: one of a request, or one of this vault"))
    .argument("<ca>", "the authority's key")
    .argument("[csr]", "file of the request; - for standard input")
    .option("--key <name>", "a key of this vault; the certificate is kept with it")
    .addOption(
      new Option("--profile <name>", "what the certificate is for")
        .choices(PROFILE_NAMES.filter((name) => name !== "self"))
        .default("device"),
    )
    .option("--subject <dn>", "with --key, or instead of the request's")
    .option("--san <name>", "with --key, or instead of the request's", each)
    .option("--days <n>", "how long it holds; never longer than the authority's own", days)
    .option("--path-length <n>", "of an intermediate: how many may stand below it", wholeNumber)
    .option("--crl-url <url>", "where the list of revoked ones is to be had")
    .option("--no-chain", "print the certificate alone")
    .addOption(algorithmOption())
    .action(issueCertificate);
  const revokeOne = asking("revoke", "say that a certificate does not hold any more; it is in the next list")
    .argument("<ca>", "the authority's key")
    .argument("<serial>", "in hexadecimal digits")
    .addOption(new Option("--reason <reason>", "why").choices(REVOCATION_REASONS).default("unspecified"))
    .action(revokeCertificate);
  const crl = withOutput(asking("crl", "the list of what an authority has revoked, with a new number"))
    .argument("<ca>", "the authority's key")
    .option("--days <n>", "until the next list is due; 7 without it", days)
    .addOption(algorithmOption())
    .action(revocationList);
  return [ca, issueOne, revokeOne, crl];
}

interface AuthorityOptions extends DocumentOptions, AlgorithmOptions {
  readonly subject: string;
  readonly parent?: string;
  readonly pathLength?: number;
  readonly days?: number;
  readonly crlUrl?: string;
}

async function makeAuthority(key: string, options: AuthorityOptions): Promise<void> {
  const { subject, parent, pathLength, days, crlUrl, algorithm } = options;
  const wishes = { subject, parent, pathLength, days, crlUrl, algorithm };
  writeChain(options, await withVault(options, (vault) => createAuthority(vault, key, wishes)));
}

interface IssueOptions extends DocumentOptions, AlgorithmOptions {
  readonly key?: string;
  readonly profile: ProfileName;
  readonly subject?: string;
  readonly san?: readonly string[];
  readonly days?: number;
  readonly pathLength?: number;
  readonly crlUrl?: string;
  readonly chain: boolean;
}

async function issueCertificate(ca: string, file: string | undefined, options: IssueOptions): Promise<void> {
  const { key: keyName, subject, profile, san: names, days, pathLength, crlUrl, algorithm } = options;
  if ((file === undefined) === (keyName === undefined)) {
    throw new ThornkeyError("USAGE", "say either the file of a request, or --key");
  }
  const wishes = { profile, names, days, pathLength, crlUrl, algorithm };
  const request = keyName === undefined ? requestIn(file, subject) : undefined;
  const chain = await withVault(options, async (vault) => {
    if (request !== undefined) return issue(vault, ca, request, wishes);
    const key = await vault.keys.show(keyName ?? "");
    if (key.publicKey === undefined) throw new ThornkeyError("USAGE", `the key ${key.name} has no public part`);
    const holder = { subject: encodeName(subject ?? ""), publicKey: key.publicKey, names: [] };
    const issued = await issue(vault, ca, holder, wishes);
    await attachChain(vault, key, issued);
    return issued;
  });
  const [made] = chain;
  const wanted = Date.now() + (days ?? 0) * 86_400_000 - 60_000;
  if (made && days !== undefined && made.notAfter < wanted) {
    note(`it holds until ${timeText(made.notAfter)}, as the authority itself does`);
  }
  writeChain(options, chain, options.chain);
}

function requestIn(file: string | undefined, subject: string | undefined) {
  const [der = new Uint8Array(0), ...more] = documentsIn("CERTIFICATE REQUEST", readInput(file));
  if (more.length > 0) throw new ThornkeyError("USAGE", "there is more than one request in the file");
  const request = readRequest(der);
  return subject === undefined ? request : { ...request, subject: encodeName(subject) };
}

async function revokeCertificate(ca: string, serial: string, options: AskOptions & { reason: string }): Promise<void> {
  const reason = reasonOf(options.reason);
  const revoked = await withVault(options, async (vault) => revoke(vault, await vault.keys.show(ca), serial, reason));
  if (options.json) show(options, revoked, () => []);
}

async function revocationList(
  ca: string,
  options: DocumentOptions & AlgorithmOptions & { days?: number },
): Promise<void> {
  const { days, algorithm } = options;
  const list = await withVault(options, (vault) => createRevocationList(vault, ca, { days, algorithm }));
  writeDocuments(options, "X509 CRL", [list]);
}
