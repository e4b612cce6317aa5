/** What the commands that make documents have in common. */
import { type Command, InvalidArgumentError, Option } from "commander";
import {
  CERTIFICATE_ALGORITHMS,
  type Certificate,
  type CertificateAlgorithm,
  describeCertificate,
  type PemLabel,
  pem,
  USAGES,
} from "../trust/index.ts";
import { type AskOptions, show, writeOutput } from "./ask.ts";

export interface DocumentOptions extends AskOptions {
  readonly output?: string;
  readonly der?: boolean;
}

export interface AlgorithmOptions {
  readonly algorithm?: CertificateAlgorithm;
}

export function withOutput(command: Command): Command {
  return command.option("-o, --output <file>", "write it there").option("--der", "DER instead of PEM");
}

export function algorithmOption(): Option {
  return new Option("--algorithm <name>", "of the signature; default: what fits the key").choices(
    CERTIFICATE_ALGORITHMS,
  );
}

/** Every occurrence is one value: commas may be part of it. */
export function each(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

export function usageWords(): string {
  return `what the key is for: ${USAGES.join(", ")}`;
}

export function days(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError("Not a whole number above 0.");
  return Number(text);
}

/**
 * Writes a document, or several in one file.
 *
 * @param description what `--json` prints beside the document
 */
export function writeDocuments(
  options: DocumentOptions,
  label: PemLabel,
  documents: readonly Uint8Array[],
  description: object = {},
): void {
  const text = documents.map((der) => pem(label, der)).join("");
  const bytes = options.der ? new Uint8Array(Buffer.concat(documents)) : new TextEncoder().encode(text);
  if (options.json) show(options, { ...description, pem: text }, () => []);
  if (options.output !== undefined || !options.json) writeOutput(options.output, bytes);
}

/** @param chain the first is what it is about */
export function writeChain(options: DocumentOptions, chain: readonly Certificate[], whole = true): void {
  const [first] = chain;
  const documents = chain.map(({ der }) => der);
  writeDocuments(
    options,
    "CERTIFICATE",
    whole ? documents : documents.slice(0, 1),
    first && describeCertificate(first),
  );
}
