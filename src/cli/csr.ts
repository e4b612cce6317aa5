import type { Command } from "commander";
import { createRequest, signerOf } from "../trust/index.ts";
import { usageOf } from "../trust/x509/usages.ts";
import { asking, collect, withVault } from "./ask.ts";
import {
  type AlgorithmOptions,
  algorithmOption,
  type DocumentOptions,
  each,
  usageWords,
  withOutput,
  writeDocuments,
} from "./documents.ts";

interface CsrOptions extends DocumentOptions, AlgorithmOptions {
  readonly subject: string;
  readonly san?: readonly string[];
  readonly usage?: readonly string[];
}

/** `thornkey csr`: a request for a certificate. */
export function csrCommand(): Command {
  return withOutput(asking("csr", "a request for a certificate (PKCS#10), signed by a key of the vault"))
    .argument("<name>", "the key")
    .requiredOption("--subject <dn>", "CN=pump 7,O=Acme,C=DE or /C=DE/O=Acme/CN=pump 7; may be empty with --san")
    .option("--san <name>", "dns:NAME, ip:ADDRESS, email:ADDRESS, uri:URI; as often as you like", each)
    .option("--usage <names>", usageWords(), collect)
    .addOption(algorithmOption())
    .action(csr);
}

async function csr(name: string, options: CsrOptions): Promise<void> {
  const { subject, san: names, algorithm } = options;
  const usages = options.usage?.map(usageOf);
  const request = await withVault(options, async (vault) =>
    createRequest(await signerOf(vault, name), { subject, names, usages, algorithm }),
  );
  writeDocuments(options, "CERTIFICATE REQUEST", [request]);
}
