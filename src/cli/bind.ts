import { Command } from "commander";
import type { Secret } from "../bytes/secret.ts";
import type { BindingStatus, Thornkey } from "../client/index.ts";
import { type AskOptions, asking, collect, show, timeText, wholeNumber, withVault } from "./ask.ts";
import { mustSayYes } from "./ask-owner.ts";
import { note, table } from "./output.ts";
import { readRecoveryKey, recoveryWords } from "./recovery-key.ts";

/** `thornkey bind`: the tie between the vault and this host. */
export function bindCommand(): Command {
  const command = new Command("bind").description("what ties the vault to this host");
  command.addCommand(
    asking("status", "what ties the vault to this host").action((options: AskOptions) =>
      withVault(options, async (vault) => showBinding(options, await vault.binding.status())),
    ),
  );
  command.addCommand(
    asking("now", "take the host as it is now for the one the vault belongs to, while in development")
      .option("--hard <names>", "what must be the same, always", collect)
      .option("--soft <names>", "of what so many must be the same", collect)
      .option("--needed <n>", "how many of the soft ones", wholeNumber)
      .action(bindNow),
  );
  command.addCommand(
    asking("seal", "end the development stage: only this host opens the vault; shows the recovery key, once")
      .option("--rehearse", "only say what would happen")
      .option("--yes", "do not ask")
      .action(seal),
  );
  withRecovery(
    command,
    "confirm",
    "the second step of sealing: show that the recovery key is written down",
    (vault) => vault.binding.confirm,
  );
  withRecovery(command, "undo", "back to the development stage", (vault) => vault.binding.undo);
  withRecovery(command, "rebind", "take this host for the one the vault belongs to", (vault) => vault.binding.rebind);
  return command;
}

type WithRecovery = (args: { readonly recovery: Secret }) => Promise<BindingStatus>;

function withRecovery(
  command: Command,
  name: string,
  description: string,
  method: (vault: Thornkey) => WithRecovery,
): void {
  command.addCommand(
    asking(name, description)
      .option("--recovery <file>", "file of the 24 words, - for standard input; without it you are asked")
      .action(async (options: AskOptions & { recovery?: string }) => {
        using recovery = await readRecoveryKey(options.recovery);
        const status = await withVault(options, (vault) => method(vault)({ recovery }));
        showBinding(options, status);
      }),
  );
}

interface NowOptions extends AskOptions {
  readonly hard?: readonly string[];
  readonly soft?: readonly string[];
  readonly needed?: number;
}

async function bindNow(options: NowOptions): Promise<void> {
  const { hard, soft, needed } = options;
  const status = await withVault(options, (vault) => vault.binding.now({ hard, soft, needed }));
  showBinding(options, status);
}

async function seal(options: AskOptions & { rehearse?: boolean; yes?: boolean }): Promise<void> {
  if (!options.rehearse) {
    await mustSayYes("Seal? The recovery key is shown once; without it a lost board is a lost vault.", options.yes);
  }
  const answer = await withVault(options, (vault) => vault.binding.seal(options.rehearse ? { rehearse: true } : {}));
  const { recovery, ...status } = answer;
  if (recovery === undefined) {
    showBinding(options, status);
    return;
  }
  using key = recovery;
  const words = recoveryWords(key);
  note("The owner's recovery key. It is shown this once: write it down, and keep it off the device.");
  show(options, { recovery: words.join(" "), ...status }, () => numbered(words));
  note("hint: 'thornkey bind confirm' seals the vault when it is given these words");
}

/** Six lines of four words. */
function numbered(words: readonly string[]): string[] {
  const lines: string[] = [];
  for (let first = 0; first < words.length; first += 4) {
    const four = words.slice(first, first + 4);
    lines.push(
      four
        .map((word, place) => `${`${first + place + 1}`.padStart(2)}. ${word.padEnd(10)}`)
        .join("")
        .trimEnd(),
    );
  }
  return lines;
}

function showBinding(options: AskOptions, status: BindingStatus): void {
  show(options, status, () => {
    const rows = status.components.map((one) => [
      one.name,
      one.title,
      one.enrolled ? (one.hard ? "must match" : "counts") : "not enrolled",
      one.matches ? "matches" : one.present ? (one.enrolled ? "differs" : "") : "missing",
    ]);
    const undo = status.undoUntil === undefined ? [] : [`undo until ${timeText(status.undoUntil)}`];
    return [
      `stage ${status.stage}; this host ${status.opens ? "opens" : "does not open"} the vault`,
      `${status.matching} of those that count match, ${status.needed} are needed; ` +
        `recovery key: ${status.recoveryEnrolled ? "enrolled" : "none"}`,
      ...undo,
      ...table(["what", "", "", ""], rows),
    ];
  });
}
