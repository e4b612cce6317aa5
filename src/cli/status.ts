import type { Command } from "commander";
import type { VaultStatus } from "../client/index.ts";
import { type AskOptions, asking, show, timeText, withVault } from "./ask.ts";

/** `thornkey status`: how the vault is. */
export function statusCommand(): Command {
  return asking("status", "how the vault is").action((options: AskOptions) =>
    withVault(options, async (vault) => {
      const status = await vault.status();
      show(options, status, () => linesOf(status));
    }),
  );
}

function linesOf(status: VaultStatus): string[] {
  const rows: (readonly [string, string | undefined])[] = [
    ["state", status.state],
    ["reason", status.reason],
    ["hint", status.hint],
    ["device", status.device || undefined],
    ["binding", status.device === "" ? undefined : status.stage],
    ["since", status.started > 0 ? timeText(status.started) : undefined],
    ...status.roots.flatMap((root): (readonly [string, string])[] => [
      ["root", `${root.name}: ${root.model} ${root.serial}${root.available ? "" : ", not available"}`],
      ...(root.keys.places > 0
        ? ([["", `${root.keys.free} of ${root.keys.places} places for keys are free`]] as const)
        : []),
      ["", `makes inside: ${root.makes.join(", ") || "no keys"}`],
      ...(root.emulated ? ([["", "emulated: for development, nothing protects its memory"]] as const) : []),
    ]),
    ["random", status.random],
    ["keys", status.keys?.toString()],
    ["journal", `${status.journal.entries} entries, signed up to ${status.journal.signed}`],
    ["you", [`uid ${status.you.uid}`, ...status.you.roles].join(", ")],
  ];
  return rows.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(10)}${value}`]));
}
