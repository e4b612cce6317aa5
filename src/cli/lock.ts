import type { Command } from "commander";
import { lockFile, unlockFile, vaultOpener } from "../client/locking/index.ts";
import { encodeTagRecipient } from "../operations/age-recipients.ts";
import { type AskOptions, asking, collect, show, withVault } from "./ask.ts";
import { progressLine } from "./progress.ts";

interface LockingOptions extends AskOptions {
  readonly output?: string;
  readonly to?: readonly string[];
  readonly force?: boolean;
}

/** `thornkey lock` and `thornkey unlock`: age files that this vault opens. */
export function lockCommands(): Command[] {
  return [
    asking("lock", "encrypt a file so that only this vault opens it")
      .argument("<file>", "'-' for standard input")
      .option("-o, --output <file>", "default: FILE.age; '-' for standard output")
      .option("--to <recipient>", "further recipients, besides this vault: age1…, age1tag1…, age1tagpq1…", collect)
      .option("--force", "replace what is there")
      .action(lock),
    asking("unlock", "decrypt a file that was locked to this vault")
      .argument("<file>", "'-' for standard input")
      .option("-o, --output <file>", "default: FILE without .age; '-' for standard output")
      .option("--force", "replace what is there")
      .action(unlock),
  ];
}

async function lock(input: string, options: LockingOptions): Promise<void> {
  const own = encodeTagRecipient("tagpq", await withVault(options, (vault) => vault.storage.publicKey()));
  const recipients = [own, ...(options.to ?? [])];
  await shown(input, options, (rest) => lockFile(input, options.output, { ...rest, recipients }));
}

async function unlock(input: string, options: LockingOptions): Promise<void> {
  await withVault(options, (vault) =>
    shown(input, options, (rest) => unlockFile(input, options.output, { ...rest, open: vaultOpener(vault.storage) })),
  );
}

type Rest = Pick<Parameters<typeof lockFile>[2], "signal" | "onProgress" | "force" | "blocking">;

/** Ctrl-C leaves nothing half done behind. */
async function shown(
  input: string,
  options: LockingOptions,
  work: (rest: Rest) => Promise<{ output: string }>,
): Promise<void> {
  const controller = new AbortController();
  const interrupt = () => controller.abort();
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const line = progressLine(input);
  try {
    const { output } = await work({
      signal: controller.signal,
      onProgress: ({ done, total }) => line.show(done, total),
      force: options.force ?? false,
      blocking: true,
    });
    if (output !== "-") show(options, { output }, () => []);
  } finally {
    line.end();
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}
