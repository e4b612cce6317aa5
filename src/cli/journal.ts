import { createPublicKey } from "node:crypto";
import { Command } from "commander";
import { publicKeyAs, type Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { checkJournal, evidenceKeyFingerprint } from "../operations/journal-check.ts";
import { type AskOptions, asking, readInput, show, wholeNumber, withVault, writeOutput } from "./ask.ts";
import { note } from "./output.ts";

/** `thornkey journal`: what happened, and whether that is the truth. */
export function journalCommand(): Command {
  const command = new Command("journal").description("what happened, in a chain the hardware signs");
  command.addCommand(
    asking("show", "the entries you may see")
      .option("--after <n>", "only entries after this one", wholeNumber)
      .action(showJournal),
  );
  command.addCommand(
    asking("export", "the lines as they were written, signed up to the last; for an auditor")
      .option("-o, --output <file>", "write them there")
      .action(exportJournal),
  );
  command.addCommand(
    asking("verify", "check chain and signatures; of a file anywhere, without a vault")
      .argument("[file]", "an exported journal, - for standard input; the vault's own without it")
      .option("--key <file>", "the evidence key (PEM or DER), from when you trusted the device")
      .action(verifyJournal),
  );
  command.addCommand(
    asking("key", "the evidence key, to verify journals with later").action((options: AskOptions) =>
      withVault(options, async (vault) => {
        const { evidenceKey } = await vault.status();
        if (evidenceKey === undefined) throw new ThornkeyError("NOT_SUPPORTED", "this root has no evidence key");
        show(options, { evidenceKey }, () => [publicKeyAs("pem", evidenceKey).trimEnd()]);
      }),
    ),
  );
  return command;
}

interface Line {
  readonly sequence: number;
  readonly time: string;
  readonly kind: string;
  readonly text: string;
}

async function showJournal(options: AskOptions & { after?: number }): Promise<void> {
  const lines = await withVault(options, (vault) => linesOf(vault, options.after));
  const entries = lines.map((line) => JSON.parse(line) as Line);
  show(options, entries, () =>
    entries.map(({ sequence, time, kind, text }) => `${sequence}  ${time}  ${kind.padEnd(16)}  ${text}`),
  );
}

async function exportJournal(options: AskOptions & { output?: string }): Promise<void> {
  const lines = await withVault(options, async (vault) => {
    await sign(vault);
    return linesOf(vault);
  });
  writeOutput(options.output, new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
}

/** As an auditor may; others get what they may see, as far as it is signed. */
async function sign(vault: Thornkey): Promise<void> {
  await vault.journal.checkpoint().catch((error) => {
    if (!(error instanceof ThornkeyError)) throw error;
    note(`thornkey: the last entries are not signed: ${error.message}`);
  });
}

async function linesOf(vault: Thornkey, after?: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of vault.journal.read(after === undefined ? {} : { after })) lines.push(line);
  return lines;
}

async function verifyJournal(file: string | undefined, options: AskOptions & { key?: string }): Promise<void> {
  const given = options.key === undefined ? undefined : pointOf(readInput(options.key));
  let lines: string[];
  let key = given;
  if (file === undefined) {
    const own = await withVault(options, async (vault) => {
      await sign(vault);
      return { lines: await linesOf(vault), key: (await vault.status()).evidenceKey };
    });
    lines = own.lines;
    key ??= own.key && pointOf(own.key);
  } else {
    lines = new TextDecoder().decode(readInput(file)).split("\n");
    if (lines.at(-1) === "") lines.pop();
  }
  const { signer, ...report } = checkJournal(lines, key);
  const { entries, signed, problem } = report;
  const fingerprint = signer && evidenceKeyFingerprint(signer);
  show(options, { ...report, valid: problem === undefined, keyGiven: given !== undefined, fingerprint }, () => [
    problem === undefined
      ? `${entries} entries in an unbroken chain`
      : `entry ${problem.entry} is wrong: ${problem.what}`,
    signed === 0 ? "no entry is signed" : `signed up to entry ${signed} by the key SHA-256 ${fingerprint}`,
    ...(key === undefined && signed > 0 ? ["the key is the journal's own word: --key compares it with yours"] : []),
  ]);
  if (problem !== undefined) {
    throw new ThornkeyError(
      "TAMPERED",
      `the journal is not as it was written: entry ${problem.entry}: ${problem.what}`,
    );
  }
}

/** @param bytes PEM or DER. @returns X then Y. @throws ThornkeyError `MALFORMED` */
function pointOf(bytes: Uint8Array): Uint8Array {
  try {
    const key =
      bytes[0] === 0x30
        ? createPublicKey({ key: Buffer.from(bytes), format: "der", type: "spki" })
        : createPublicKey(Buffer.from(bytes));
    const { crv, x = "", y = "" } = key.export({ format: "jwk" });
    if (crv !== "P-256") throw new Error("another curve");
    return new Uint8Array(Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]));
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", "this is no public key of P-256", { cause });
  }
}
