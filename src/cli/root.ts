import { Command } from "commander";
import type { Secret } from "../bytes/secret.ts";
import type { RootInfo, Thornkey } from "../client/index.ts";
import { type AskOptions, asking, show, wholeNumber, withVault } from "./ask.ts";
import { mustSayYes } from "./ask-owner.ts";
import { readRecoveryKey } from "./recovery-key.ts";

interface ChangeOptions extends AskOptions {
  readonly needed?: number;
  readonly leaveBehind?: boolean;
  readonly recovery?: string;
  readonly yes?: boolean;
}

type Changed = Awaited<ReturnType<Thornkey["roots"]["move"]>>;

/** `thornkey root`: the hardware the vault is on. */
export function rootCommand(): Command {
  const command = new Command("root").description("the hardware that opens the vault: list, add, take away, move");
  command.addCommand(
    asking("list", "the hardware the vault is on, what it can do and what it cannot").action((options: AskOptions) =>
      withVault(options, async (vault) => {
        const answer = await vault.roots.list();
        show(options, answer, () => linesOf(answer));
      }),
    ),
  );
  command.addCommand(
    changing("add", "add hardware: from now on the vault opens only with it as well")
      .argument("<spec>")
      .option("--needed <n>", "so many of all parts are enough; default: all", wholeNumber)
      .addHelpText("after", "\nExample:\n  thornkey root add tpm:/dev/tpmrm0\n  thornkey root add 'pi' --needed 2")
      .action((spec: string, options: ChangeOptions) =>
        change(options, `From now on the vault opens only with ${spec} as well. Add it?`, (vault, wishes) =>
          vault.roots.add({ specification: spec, ...wishes }),
        ),
      ),
  );
  command.addCommand(
    changing("remove", "take hardware away, by its specification or serial number")
      .argument("<root>")
      .option("--needed <n>", "so many of the parts that are left are enough", wholeNumber)
      .action((root: string, options: ChangeOptions) =>
        change(options, `From now on the vault opens without ${root}. Take it away?`, (vault, wishes) =>
          vault.roots.remove(root, wishes),
        ),
      ),
  );
  command.addCommand(
    changing("move", "move the vault to other hardware; keys that are sealed follow")
      .argument("<spec>")
      .action((spec: string, options: ChangeOptions) =>
        change(options, `From now on the vault opens only with ${spec}. Move it?`, (vault, { needed: _, ...wishes }) =>
          vault.roots.move({ specification: spec, ...wishes }),
        ),
      ),
  );
  return command;
}

function changing(name: string, description: string): Command {
  return asking(name, description)
    .option("--leave-behind", "forget the keys that live inside hardware the vault leaves")
    .option("--recovery <file>", "file of the owner's 24 words, - for standard input; needed when the vault is sealed")
    .option("--yes", "do not ask");
}

type Wishes = { needed?: number; leaveBehind?: boolean; recovery?: Secret };

async function change(
  options: ChangeOptions,
  question: string,
  act: (vault: Thornkey, wishes: Wishes) => Promise<Changed>,
): Promise<void> {
  const { needed, leaveBehind, recovery, yes } = options;
  await mustSayYes(question, yes);
  using owner = recovery === undefined ? undefined : await readRecoveryKey(recovery);
  const answer = await withVault(options, (vault) =>
    act(vault, {
      ...(needed !== undefined && { needed }),
      ...(leaveBehind !== undefined && { leaveBehind }),
      ...(owner !== undefined && { recovery: owner }),
    }),
  );
  show(options, answer, () => [
    `the vault is on ${answer.root.model} ${answer.root.serial}`,
    `from its next start on: --root '${answer.root.specification}'; the one before is still understood`,
    ...answer.leftBehind.map((name) => `${name} stayed behind, and is forgotten`),
  ]);
}

function linesOf({ roots, needed }: { readonly roots: readonly RootInfo[]; readonly needed: number }): string[] {
  const whole =
    roots.length === 1 ? [] : [`${needed === roots.length ? "all" : needed} of ${roots.length} are needed`, ""];
  return [
    ...whole,
    ...roots.flatMap(({ specification, model, serial, firmware, present, emulated, makes, limits }) => [
      `${specification}${present ? "" : "  (missing)"}`,
      `  ${model} ${serial}${firmware && `, firmware ${firmware}`}`,
      ...(emulated ? ["  emulated: for development, nothing protects its memory"] : []),
      `  makes inside: ${makes.join(", ") || "no keys"}`,
      ...limits.map((limit) => `  ! ${limit}`),
    ]),
  ];
}
