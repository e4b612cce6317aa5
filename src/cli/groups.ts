import type { Command } from "commander";

/** Groups of commands by their names, in the order of the help; only what is asked for is loaded. */
export const GROUPS: readonly (readonly [names: readonly string[], load: () => Promise<readonly Command[]>])[] = [
  [["tour"], async () => [(await import("./tour.ts")).tourCommand()]],
  [["up"], async () => [(await import("./up.ts")).upCommand()]],
  [["status"], async () => [(await import("./status.ts")).statusCommand()]],
  [["key"], async () => [(await import("./key.ts")).keyCommand()]],
  [["root"], async () => [(await import("./root.ts")).rootCommand()]],
  [["chip"], async () => [(await import("./chip.ts")).chipCommand()]],
  [["emulator"], async () => [(await import("./emulator.ts")).emulatorCommand()]],
  [["vault", "gate"], async () => (await import("./up.ts")).halfCommands()],
  [["sign", "verify", "agree", "random"], async () => (await import("./use.ts")).useCommands()],
  [["use"], async () => [(await import("./use-program.ts")).useProgramCommand()]],
  [["lock", "unlock"], async () => (await import("./lock.ts")).lockCommands()],
  [["freeze", "thaw", "destroy"], async () => (await import("./control.ts")).controlCommands()],
  [["csr"], async () => [(await import("./csr.ts")).csrCommand()]],
  [["cert"], async () => [(await import("./cert.ts")).certCommand()]],
  [["token"], async () => [(await import("./token.ts")).tokenCommand()]],
  [["aws"], async () => [(await import("./aws.ts")).awsCommand()]],
  [["user"], async () => [(await import("./user.ts")).userCommand()]],
  [["pin"], async () => [(await import("./pin.ts")).pinCommand()]],
  [["wallet"], async () => [(await import("./wallet.ts")).walletCommand()]],
  [["bind"], async () => [(await import("./bind.ts")).bindCommand()]],
  [["journal"], async () => [(await import("./journal.ts")).journalCommand()]],
  [["device", "namespace", "confirm"], async () => (await import("./device.ts")).deviceCommands()],
  [["repair"], async () => [(await import("./repair.ts")).repairCommand()]],
  [["doctor"], async () => [(await import("./doctor.ts")).doctorCommand()]],
];
