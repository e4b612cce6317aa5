import type { Command } from "commander";
import { ThornkeyError } from "../errors.ts";
import { type AskOptions, asking, show, withVault } from "./ask.ts";
import { typed } from "./ask-owner.ts";
import { note } from "./output.ts";

/** `thornkey freeze`, `thaw`, `destroy`: the vault stops, goes on, ends. */
export function controlCommands(): readonly Command[] {
  return [
    asking("freeze", "give nothing out until an administrator thaws the vault")
      .option("--reason <text>", "for the journal")
      .action(freeze),
    asking("thaw", "end a freeze").action(thaw),
    asking("destroy", "destroy every key and the vault, for ever")
      .option("--device <id>", "the vault's id ('thornkey status'), so that nobody destroys the wrong one")
      .option("--reason <text>", "for the journal")
      .option("--yes", "do not ask; without --device, whichever vault this is")
      .action(destroy),
  ];
}

async function freeze(options: AskOptions & { reason?: string }): Promise<void> {
  await withVault(options, (vault) => vault.freeze({ reason: options.reason }));
  if (options.json) show(options, { state: "frozen" }, () => []);
}

async function thaw(options: AskOptions): Promise<void> {
  await withVault(options, (vault) => vault.thaw());
  if (options.json) show(options, { state: "operational" }, () => []);
}

interface DestroyOptions extends AskOptions {
  readonly device?: string;
  readonly reason?: string;
  readonly yes?: boolean;
}

async function destroy(options: DestroyOptions): Promise<void> {
  const report = await withVault(options, async (vault) => {
    const { device: here } = await vault.status();
    const device = options.device ?? here;
    if (!options.yes) {
      note(`This destroys every key of the vault ${here}, for ever. Nothing brings them back.`);
      const answer = await typed(`Type the vault's id to destroy it`, "add --yes and --device ID, if you are sure");
      if (answer.trim() !== here) throw new ThornkeyError("ABORTED", "this is not its id; nothing was changed");
    }
    return vault.destroy({ device, reason: options.reason });
  });
  show(options, report, () => [
    ...report.destroyed.map((what) => `destroyed: ${what}`),
    ...report.kept.map((what) => `kept: ${what}`),
  ]);
}
