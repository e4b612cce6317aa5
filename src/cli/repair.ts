import { spawn } from "node:child_process";
import { Command } from "commander";
import { ERROR_CODES, ThornkeyError } from "../errors.ts";
import { personMessage } from "../operations/persons.ts";
import { type KeyOutcome, LOSSES, type RepairReport } from "../operations/repair-report.ts";
import { collect } from "./ask.ts";
import { mustSayYes } from "./ask-owner.ts";
import { halfCommand, halfEnvironment, REPAIR_FLAGS } from "./halves.ts";
import { note, print, printJson, table } from "./output.ts";
import { hostOption, rootOption, stateOption } from "./up.ts";

interface RepairOptions {
  readonly state: string;
  readonly root?: string;
  readonly host?: string;
  readonly timing?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
  readonly acceptRollback?: boolean;
  readonly onlyProved?: boolean;
  readonly keep?: readonly string[];
  readonly as?: string;
  readonly token?: string;
  readonly id: string;
  readonly pinFile?: string;
}

/** `thornkey repair`: a damaged state, while no vault runs. */
export function repairCommand(): Command {
  return new Command("repair")
    .description("restore what is left of a damaged state, and say what is lost; the vault must be stopped")
    .addOption(stateOption())
    .addOption(rootOption())
    .addOption(hostOption())
    .option("--timing <timing>", "of an emulated chip: none, typical, maximum")
    .option("--dry-run", "only look, and change nothing")
    .option("--yes", "do not ask")
    .option("--json", "print JSON")
    .option("--only-proved", "bring back nothing of which it cannot be proved that it is the newest")
    .option("--keep <key>", "a key (SCOPE/NAME, an id, all) you vouch for, where nothing proves it", collect)
    .option("--accept-rollback", "there is no newer state than this old one, and you know it")
    .option("--as <name>", "where the device demands somebody for a repair: who is there")
    .option("--token <spec>", "with which token: pkcs11:/path/module.so?token=LABEL")
    .option("--id <hex>", "CKA_ID of the key on it", "01")
    .option("--pin-file <file>", "its PIN, - for standard input; without it you are asked")
    .addHelpText("after", EXPLANATION)
    .action(repair);
}

const EXPLANATION = `
The damaged files are copied to damaged-TIME in the state's directory first; the repaired database is written beside the
old one and then takes its place. It may be killed at any instant.

What comes back: every record that opens under its seal and is proved to be the newest, by the head of the state or by
the journal. Where neither proves it, a key comes back with a note, and a key with a limited number of uses does not
unless --keep names it. A key that was deleted or used up never does.

An old copy of the state is refused here as everywhere. With --accept-rollback the owner says that there is no newer
one: then the keys in the root come back, and of the others those that --keep names; none with a limited number of uses.

Exit status: 0 when the state is whole now; 5 for a state that belongs elsewhere, is old, or was destroyed.`;

async function repair(options: RepairOptions): Promise<void> {
  if (options.root === undefined) {
    throw new ThornkeyError("USAGE", "--root says which hardware the state belongs to", {
      hint: "the same as for 'thornkey up'",
    });
  }
  if (options.dryRun || !options.yes) {
    const found = await runRepair(options, true);
    if (options.dryRun || found.problems.length === 0) {
      show(options, found);
      return;
    }
    for (const line of linesOf(found)) note(line);
    await mustSayYes("Repair it like this?", false);
  }
  show(options, await runRepair(options, false));
}

/** In the vault's own process, where what the root derives stays. */
async function runRepair(options: RepairOptions, dryRun: boolean): Promise<RepairReport> {
  const { state, root = "", host, timing, acceptRollback, onlyProved, keep = [] } = options;
  const args = ["repair", "--state", state, "--root", root];
  if (host !== undefined) args.push("--host", host);
  if (timing !== undefined) args.push("--timing", timing);
  if (dryRun) args.push("--dry-run");
  if (acceptRollback) args.push("--accept-rollback");
  if (onlyProved) args.push("--only-proved");
  for (const name of keep) args.push(`--keep=${name}`);
  const child = spawn(process.execPath, halfCommand("vault", args, REPAIR_FLAGS), {
    stdio: ["pipe", "pipe", "pipe"],
    env: halfEnvironment(),
  });
  let [stdout, stderr] = ["", ""];
  let failure: unknown;
  child.stdin.on("error", () => {}); // it ended without having asked
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
    const end = stdout.indexOf("\n");
    if (end < 0 || !stdout.startsWith('{"demand"')) return;
    const demand = stdout.slice(0, end);
    stdout = stdout.slice(end + 1);
    void answerDemand(options, demand).then(
      (answer) => child.stdin.end(answer),
      (error) => {
        failure = error;
        child.stdin.end();
      },
    );
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  const hand = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of signals) process.on(signal, hand);
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  for (const signal of signals) process.off(signal, hand);
  if (status === 0) return JSON.parse(stdout) as RepairReport;
  if (failure !== undefined) throw failure;
  throw (
    saidError(stderr) ?? new ThornkeyError("FAILED", `the repair ended early; it may be repeated\n${stderr}`.trim())
  );
}

/** @returns a line for the repair: what a person signed; nothing when none was named */
async function answerDemand({ as: name, token, id, pinFile }: RepairOptions, line: string): Promise<string> {
  if (name === undefined || token === undefined) return "";
  const { demand } = JSON.parse(line) as { demand: { device: string; uid: number; challenge: string } };
  const challenge = new Uint8Array(Buffer.from(demand.challenge, "base64"));
  const { withKey } = await import("./user.ts");
  const { signature } = await withKey({ token, id, ...(pinFile !== undefined && { pinFile }) }, (sign) =>
    sign(personMessage(demand.device, demand.uid, name, challenge)),
  );
  return `${JSON.stringify({ name, signature: Buffer.from(signature).toString("base64") })}\n`;
}

/** What a half writes before it ends: `thornkey: CODE: sentence`, and a hint. */
function saidError(stderr: string): ThornkeyError | undefined {
  const [, code = "", sentence = ""] = /^thornkey: ([A-Z_]+): (.*)$/m.exec(stderr) ?? [];
  const hint = /^hint: (.*)$/m.exec(stderr)?.[1];
  if (!Object.hasOwn(ERROR_CODES, code)) return undefined;
  return new ThornkeyError(code as keyof typeof ERROR_CODES, sentence, hint === undefined ? {} : { hint });
}

function show(options: RepairOptions, report: RepairReport): void {
  if (options.json) printJson(report);
  else for (const line of linesOf(report)) print(line);
}

function linesOf(report: RepairReport): string[] {
  const { problems, keys, settings, unknown, journal, repaired, folder } = report;
  if (problems.length === 0) return ["nothing is damaged"];
  const odd = keys.filter(({ outcome }) => outcome !== "intact");
  const oddSettings = settings.filter(({ outcome }) => outcome !== "intact");
  const lost = odd.filter(({ outcome }) => LOSSES.has(outcome)).length;
  const rows = [...odd.map(rowOf), ...oddSettings.map(({ name, outcome, why }) => [name, "", outcome, why])];
  const fate = repaired ? "" : "would be ";
  return [
    ...problems.map((problem) => `damage: ${problem}`),
    "",
    `${keys.length - lost} keys ${repaired ? "are" : "would be"} there, ${keys.length - odd.length} of them proved to be as they were; ${lost} ${fate}lost`,
    ...(unknown > 0 ? [`${unknown} more records are lost, and nobody knows which they were`] : []),
    journal.lost === undefined
      ? `the journal is whole: ${journal.kept} entries`
      : `of the journal ${journal.kept} entries ${fate}kept; ${journal.aside} lines behind them ${fate}put aside`,
    ...(rows.length > 0 ? ["", ...table(["what", "type", "outcome", "why"], rows)] : []),
    ...(folder === undefined
      ? []
      : ["", `what was there before is in ${folder}, with the public parts of keys that are lost`]),
  ];
}

function rowOf({ name, type, protection, outcome, why }: KeyOutcome): readonly string[] {
  return [name, `${type}, ${protection}`, outcome, why];
}
