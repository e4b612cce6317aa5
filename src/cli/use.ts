import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type Command, Option } from "commander";
import { Secret } from "../bytes/secret.ts";
import type { Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import {
  type Digest,
  factsOf,
  type KeyType,
  SIGNATURE_ALGORITHMS,
  type SignatureAlgorithm,
} from "../operations/key-types.ts";
import { DIGEST_NAMES } from "../operations/policy.ts";
import { type AskOptions, asking, fileError, readInput, show, wholeNumber, withVault, writeOutput } from "./ask.ts";
import { ingredientOf } from "./key-options.ts";

interface SignOptions extends AskOptions {
  readonly format?: "raw" | "der";
  readonly algorithm?: SignatureAlgorithm;
  readonly digest?: Digest;
  readonly digested?: boolean;
  readonly ingredientFile?: string;
  readonly output?: string;
}

/** `thornkey sign`, `verify`, `agree`, `random`: what keys are for. */
export function useCommands(): readonly Command[] {
  return [
    withSignatureOptions(asking("sign", "sign a file, or standard input"))
      .argument("<name>", "the key")
      .argument("[file]", "- or nothing for standard input")
      .option("-o, --output <file>", "write the signature there")
      .action(sign),
    withSignatureOptions(asking("verify", "check a signature with a key of the vault; status 1 when it is wrong"))
      .argument("<name>", "the key")
      .argument("<file>", "what was signed; - for standard input")
      .argument("<signature>", "file of the signature")
      .action(verify),
    asking("agree", "a secret shared with somebody else's public key (ECDH, X25519)")
      .argument("<name>", "the key")
      .argument("<peer>", "file of the other public key: PEM, or SubjectPublicKeyInfo in DER")
      .requiredOption("-o, --output <file>", "a file that only you can read; - for standard output")
      .option("--ingredient-file <file>", "what was chosen when the key was made")
      .action(agree),
    asking("random", "random bytes of the root and the kernel")
      .argument("<n>", "how many")
      .option("-o, --output <file>", "a file that only you can read; standard output without it")
      .action(random),
  ];
}

function withSignatureOptions(command: Command): Command {
  return command
    .addOption(new Option("--format <format>", "of ECDSA: der (default), or raw: r then s").choices(["der", "raw"]))
    .addOption(new Option("--algorithm <name>", "for RSA: rsa-pss without it").choices(SIGNATURE_ALGORITHMS))
    .addOption(new Option("--digest <name>", "default: what fits the type").choices(DIGEST_NAMES))
    .option("--digested", "the input is the digest already")
    .option("--ingredient-file <file>", "what was chosen when the key was made");
}

async function sign(name: string, file: string | undefined, options: SignOptions): Promise<void> {
  using ingredient = ingredientOf(options);
  const signature = await withVault(options, async (vault) => {
    const { data, spec } = await prepare(vault, name, file, options);
    return vault.key(name).sign(data, { ...spec, ingredient });
  });
  if (options.json) show(options, { signature }, () => []);
  else writeOutput(options.output, signature);
}

async function verify(name: string, file: string, signatureFile: string, options: SignOptions): Promise<void> {
  const signature = readInput(signatureFile);
  using ingredient = ingredientOf(options);
  const valid = await withVault(options, async (vault) => {
    const { data, spec } = await prepare(vault, name, file, options);
    return vault.key(name).verify(data, signature, { ...spec, ingredient });
  });
  show(options, { valid }, () => [valid ? "valid" : "not valid"]);
  if (!valid) process.exitCode = 1;
}

/** More than this is hashed here, and only the digest goes to the vault; in bytes. */
const SMALL = 32_768;

/** What the types sign over when nobody says. */
const DEFAULT_DIGESTS: { readonly [Type in KeyType]?: Digest } = { p384: "sha384", p521: "sha512" };

/** @returns what goes to the vault: the data, or of much its digest, and how it is to be signed */
async function prepare(vault: Thornkey, name: string, file: string | undefined, options: SignOptions) {
  const { type } = await vault.keys.public(name).catch((error) => {
    // A symmetric key has no public part, but may check a MAC.
    if (error instanceof ThornkeyError && error.code === "USAGE") return { type: "hmac256" as const };
    throw error;
  });
  const { algorithm } = options;
  if (type === "storage") throw new ThornkeyError("USAGE", `${name} is a storage key, and signs nothing`);
  const { family } = factsOf(type);
  const format = options.format ?? (family === "ec" ? "der" : undefined);
  const digest = options.digest ?? (family === "ec" ? (DEFAULT_DIGESTS[type] ?? "sha256") : undefined);
  const hashable = (family === "ec" || family === "rsa") && !options.digested;
  const { data, digested } = await readMuch(file, hashable ? (digest ?? "sha256") : undefined);
  const used = digest ?? (digested ? ("sha256" as const) : undefined);
  return { data, spec: { format, algorithm, digest: used, digested: options.digested || digested ? true : undefined } };
}

/** @param digest how to hash what is too long to be sent; without it all is sent */
async function readMuch(
  file: string | undefined,
  digest: Digest | undefined,
): Promise<{ data: Uint8Array; digested: boolean }> {
  if (digest === undefined) return { data: readInput(file), digested: false };
  const hash = createHash(digest);
  const first: Buffer[] = [];
  let length = 0;
  const stream = file === undefined || file === "-" ? process.stdin : createReadStream(file);
  try {
    for await (const chunk of stream) {
      length += (chunk as Buffer).length;
      if (length <= SMALL) first.push(chunk as Buffer);
      hash.update(chunk as Buffer);
    }
  } catch (cause) {
    throw fileError(file ?? "standard input", cause);
  }
  if (length <= SMALL) return { data: new Uint8Array(Buffer.concat(first)), digested: false };
  return { data: new Uint8Array(hash.digest()), digested: true };
}

interface SecretOptions extends AskOptions {
  readonly output: string;
  readonly ingredientFile?: string;
}

async function agree(name: string, peerFile: string, options: SecretOptions): Promise<void> {
  const bytes = readInput(peerFile);
  const peer = bytes[0] === 0x30 ? bytes : new TextDecoder().decode(bytes);
  using ingredient = ingredientOf(options);
  using secret = await withVault(options, (vault) => vault.key(name).agree(peer, { ingredient }));
  secret.use((shared) => writeOutput(options.output, shared, 0o600));
  if (options.json && options.output !== "-") show(options, { written: options.output }, () => []);
}

/** Bytes asked for at a time. */
const PORTION = 32_768;

async function random(text: string, options: AskOptions & { output?: string }): Promise<void> {
  const length = wholeNumber(text);
  if (length === 0 || length > MOST) throw new ThornkeyError("USAGE", `1 to ${MOST} bytes at a time`);
  using all = new Secret(new Uint8Array(length));
  await withVault(options, async (vault) => {
    for (let done = 0; done < length; ) {
      using portion = await vault.random(Math.min(PORTION, length - done));
      portion.use((bytes) => all.use((target) => target.set(bytes, done)));
      done += portion.length;
    }
  });
  if (options.json) all.use((random) => show(options, { random }, () => []));
  else all.use((bytes) => writeOutput(options.output, bytes, 0o600));
}

const MOST = 16 * 1024 * 1024;
