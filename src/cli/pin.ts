import { Command } from "commander";
import { type AskOptions, asking, readSecret, show, wholeNumber, withVault } from "./ask.ts";

interface SetOptions extends AskOptions {
  readonly new: string;
  readonly old?: string;
}

/** `thornkey pin`: the PIN that programs of a user show at pkcs11-login.sock. */
export function pinCommand(): Command {
  const command = new Command("pin").description("your PIN for programs that log in to the PKCS#11 token");
  command.addCommand(
    asking("set", "choose a PIN, or another one")
      .requiredOption("--new <file>", "the PIN in a file, without its last line break; - for standard input")
      .option("--old <file>", "the one before, if there is one")
      .action(async (options: SetOptions) => {
        const [pin, before] = [pinIn(options.new), options.old === undefined ? undefined : pinIn(options.old)];
        try {
          await withVault(options, (vault) => vault.pins.set({ pin, ...(before && { before }) }));
        } finally {
          pin.fill(0);
          before?.fill(0);
        }
        if (options.json) show(options, { chosen: true }, () => []);
      }),
  );
  command.addCommand(
    asking("status", "whether you chose one, and how many wrong ones are left").action(async (options: AskOptions) => {
      const status = await withVault(options, (vault) => vault.pins.status());
      show(options, status, () => [status.chosen ? `chosen; ${status.left} wrong ones until it locks` : "none chosen"]);
    }),
  );
  command.addCommand(
    asking("reset", "take a user's PIN away, for administrators")
      .requiredOption("--uid <n>", "whose", wholeNumber)
      .action(async (options: AskOptions & { uid: number }) => {
        await withVault(options, (vault) => vault.pins.reset(options.uid));
        if (options.json) show(options, { uid: options.uid, chosen: false }, () => []);
      }),
  );
  command.addHelpText(
    "after",
    `
Programs that use pkcs11.sock need no PIN: the kernel says who they are. Those at pkcs11-login.sock show one, and a
key whose policy says '--allow uid:1000+front:pkcs11-login' is used only there.

Example:
  printf 4711 | thornkey pin set --new -`,
  );
  return command;
}

function pinIn(file: string): Uint8Array {
  const bytes = readSecret(file);
  const end = bytes.at(-1) === 10 ? bytes.length - 1 : bytes.length;
  return bytes.subarray(0, end);
}
