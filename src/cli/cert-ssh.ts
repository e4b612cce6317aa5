import type { Command } from "commander";
import { ThornkeyError } from "../errors.ts";
import { sshBlobOf } from "../operations/ssh-keys.ts";
import { attachSsh } from "../trust/attached.ts";
import { describeSshCertificate } from "../trust/authority/ssh.ts";
import { FOR_EVER, issueSshCertificate, readSshPublicKey, secondsOf, sshCertificateLine } from "../trust/index.ts";
import { type AskOptions, asking, collect, readInput, show, withVault, writeOutput } from "./ask.ts";
import { each } from "./documents.ts";

interface SshOptions extends AskOptions {
  readonly key?: string;
  readonly id: string;
  readonly principal: readonly string[];
  readonly valid: string;
  readonly host?: boolean;
  readonly option?: readonly string[];
  readonly extension?: readonly string[] | false;
  readonly serial?: bigint;
  readonly output?: string;
}

/** `thornkey cert ssh`: an authority for SSH. */
export function sshCommand(): Command {
  return asking("ssh", "certify a key for SSH: a user's, or a host's")
    .argument("<ca>", "the authority's key")
    .argument("[public-key]", "file of the key, such as id_ed25519.pub; - for standard input")
    .option("--key <name>", "a key of this vault; the certificate is kept with it, and the agent shows it")
    .requiredOption("--id <text>", "what stands in the server's log")
    .requiredOption("--principal <names>", "user names, or host names with --host", collect)
    .requiredOption("--valid <time>", "12h, 90d, or 'forever'")
    .option("--host", "for a host, and not for a user")
    .option("--option <option>", "force-command=COMMAND, source-address=ADDRESSES", each)
    .option("--extension <names>", "instead of all that ssh-keygen gives", collect)
    .option("--no-extension", "none at all")
    .option("--serial <n>", "random without it", serialNumber)
    .option("-o, --output <file>", "write it there")
    .action(issueForSsh);
}

function serialNumber(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new ThornkeyError("USAGE", `'${text}' is no number of 64 bits`);
  }
  return BigInt(text);
}

async function issueForSsh(ca: string, file: string | undefined, options: SshOptions): Promise<void> {
  const { key: keyName, id, host, serial, extension } = options;
  if ((file === undefined) === (keyName === undefined)) {
    throw new ThornkeyError("USAGE", "say either the file of a public key, or --key");
  }
  const wishes = {
    ...{ id, principals: options.principal, serial, kind: host ? ("host" as const) : ("user" as const) },
    seconds: options.valid === "forever" ? FOR_EVER : secondsOf(options.valid),
    options: options.option?.map(pairOf),
    extensions: extension === false ? [] : Array.isArray(extension) ? extension : undefined,
  };
  const given = keyName === undefined ? readSshPublicKey(readInput(file)) : undefined;
  const [certificate, comment] = await withVault(options, async (vault) => {
    if (given !== undefined) return [await issueSshCertificate(vault, ca, given.blob, wishes), given.comment] as const;
    const key = await vault.keys.show(keyName ?? "");
    if (key.type === "storage" || key.publicKey === undefined) {
      throw new ThornkeyError("USAGE", `the key ${key.name} is none for SSH`);
    }
    const made = await issueSshCertificate(vault, ca, sshBlobOf(key.type, key.publicKey), wishes);
    await attachSsh(vault, key, made);
    return [made, key.name] as const;
  });
  const line = sshCertificateLine(certificate, comment);
  if (options.json) show(options, { ...describeSshCertificate(certificate), certificate: line.trim() }, () => []);
  if (options.output !== undefined || !options.json) writeOutput(options.output, new TextEncoder().encode(line));
}

function pairOf(text: string): readonly [string, string] {
  const [, name = text, value = ""] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  return [name, value];
}
