import { Command, InvalidArgumentError, Option } from "commander";
import type { KeyType } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { secondsOf } from "../trust/durations.ts";
import { signerOf } from "../trust/signer.ts";
import {
  type Cbor,
  createClientAssertion,
  createCwt,
  createJwt,
  createProof,
  type Json,
  type JsonObject,
  TOKEN_ALGORITHMS,
  type TokenAlgorithmName,
  verifyToken,
} from "../trust/tokens/index.ts";
import { type AskOptions, asking, readInput, show, withVault, writeOutput } from "./ask.ts";

interface TokenOptions extends AskOptions {
  readonly algorithm?: TokenAlgorithmName;
}

interface ClaimOptions extends TokenOptions {
  readonly claim?: JsonObject;
  readonly header?: JsonObject;
  readonly issuer?: string;
  readonly subject?: string;
  readonly audience?: readonly string[];
  readonly expires?: number;
  readonly notBefore?: number;
}

/** `thornkey token`: tokens signed by keys of the vault. */
export function tokenCommand(): Command {
  const command = new Command("token").description("tokens: JWT, DPoP, client assertions, CWT");
  command.addCommand(
    withClaims(signing("jwt", "a token of claims (JWT)"))
      .option("--header <k=v>", "a header besides alg, typ and kid", pairs)
      .action(jwt),
  );
  command.addCommand(
    signing("dpop", "a proof, for one request of HTTP, that one has the key (DPoP)")
      .requiredOption("--method <method>", "GET, POST, …")
      .requiredOption("--url <url>", "where the request goes")
      .option("--access-token-file <file>", "the access token that goes with it; - for standard input")
      .option("--nonce <text>", "what the server gave")
      .action(dpop),
  );
  command.addCommand(
    signing("client-assertion", "what a client of OAuth shows instead of a password (private_key_jwt)")
      .requiredOption("--client <id>", "the client's id")
      .requiredOption("--audience <url>", "the server's token endpoint or issuer")
      .option("--expires <time>", "5m without it", seconds)
      .option("--header <k=v>", "a header besides alg, typ and kid", pairs)
      .action(clientAssertion),
  );
  command.addCommand(
    withClaims(signing("cwt", "a token of claims in CBOR (CWT); printed in base64url"))
      .option("-o, --output <file>", "write its bytes there")
      .action(cwt),
  );
  command.addCommand(
    asking("verify", "check a token with a key of the vault, and print what it says; status 3 when it does not hold")
      .argument("<key>")
      .argument("<token>", "the token, or - for standard input")
      .option("--issuer <text>", "who has to have issued it")
      .option("--audience <text>", "whom it has to be for")
      .action(verify),
  );
  return command;
}

function signing(name: string, description: string): Command {
  return asking(name, description)
    .argument("<key>")
    .addOption(new Option("--algorithm <name>", "default: what fits the key").choices(TOKEN_ALGORITHMS));
}

function withClaims(command: Command): Command {
  return command
    .option("--claim <k=v>", "a claim; the value is JSON, or else text", pairs)
    .option("--issuer <text>")
    .option("--subject <text>")
    .option("--audience <text>", "as often as you like", (text, before: readonly string[] = []) => [...before, text])
    .option("--expires <time>", "5m without it", seconds)
    .option("--not-before <time>", "from now", seconds);
}

function seconds(text: string): number {
  return secondsOf(text);
}

function pairs(text: string, before: JsonObject = {}): JsonObject {
  const [, name, value = ""] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("Write NAME=VALUE.");
  return { ...before, [name]: jsonOf(value) };
}

function jsonOf(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

function claimsOf(options: ClaimOptions) {
  const { issuer, subject, audience = [], expires, notBefore, algorithm } = options;
  const aud = audience.length > 1 ? audience : audience[0];
  return { issuer, subject, audience: aud, expires, notBefore, algorithm };
}

async function jwt(key: string, options: ClaimOptions): Promise<void> {
  const wishes = { ...claimsOf(options), claims: options.claim, header: options.header };
  await print(options, key, (signer) => createJwt(signer, wishes));
}

interface DpopOptions extends TokenOptions {
  readonly method: string;
  readonly url: string;
  readonly accessTokenFile?: string;
  readonly nonce?: string;
}

async function dpop(key: string, options: DpopOptions): Promise<void> {
  const { method, url, accessTokenFile, nonce, algorithm } = options;
  // Not an argument: everybody sees those of everybody's processes.
  const accessToken = accessTokenFile && Buffer.from(readInput(accessTokenFile)).toString().trim();
  await print(options, key, (signer) => createProof(signer, { method, url, accessToken, nonce, algorithm }));
}

interface AssertionOptions extends TokenOptions {
  readonly client: string;
  readonly audience: string;
  readonly expires?: number;
  readonly header?: JsonObject;
}

async function clientAssertion(key: string, options: AssertionOptions): Promise<void> {
  const { client, audience, expires, header, algorithm } = options;
  await print(options, key, (signer) =>
    createClientAssertion(signer, { client, audience, expires, header, algorithm }),
  );
}

type Make = (signer: Awaited<ReturnType<typeof signerOf>>) => Promise<string>;

async function print(options: AskOptions, key: string, make: Make): Promise<void> {
  const token = await withVault(options, async (vault) => make(await signerOf(vault, key)));
  show(options, { token }, () => [token]);
}

async function cwt(key: string, options: ClaimOptions & { output?: string }): Promise<void> {
  const claims = new Map(Object.entries(options.claim ?? {}).map(([name, value]) => [nameOf(name), cborOf(value)]));
  const token = await withVault(options, async (vault) =>
    createCwt(await signerOf(vault, key), { ...claimsOf(options), claims }),
  );
  if (options.output !== undefined) writeOutput(options.output, token);
  const text = Buffer.from(token).toString("base64url");
  if (options.output === undefined || options.json) show(options, { token: text }, () => [text]);
}

/** Claims of CBOR have numbers for names, too. */
function nameOf(name: string): string | number {
  return /^-?\d{1,9}$/.test(name) ? Number(name) : name;
}

function cborOf(value: Json): Cbor {
  if (Array.isArray(value)) return value.map(cborOf);
  if (typeof value !== "object" || value === null) return value as Cbor;
  return new Map(Object.entries(value).map(([name, inner]) => [nameOf(name), cborOf(inner)]));
}

async function verify(
  key: string,
  given: string,
  options: AskOptions & { issuer?: string; audience?: string },
): Promise<void> {
  const token = given === "-" ? tokenIn(readInput("-")) : given;
  const { issuer, audience } = options;
  const verified = await withVault(options, async (vault) => {
    const { type, publicKey } = await vault.keys.public(key);
    if (type === "storage") throw new ThornkeyError("USAGE", `${key} is a storage key, and signs nothing`);
    return verifyToken(type satisfies KeyType, publicKey, token, { issuer, audience });
  });
  show(options, verified, () =>
    Object.entries(verified.claims).map(([name, value]) => `${name.padEnd(8)}${textOf(value)}`),
  );
}

/** Text, or the bytes of a CWT. */
function tokenIn(bytes: Uint8Array): string | Uint8Array {
  const text = Buffer.from(bytes).toString("latin1").trim();
  return /^[A-Za-z0-9_.-]+$/.test(text) ? text : bytes;
}

function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64url");
  return typeof value === "string" ? value : JSON.stringify(value);
}
