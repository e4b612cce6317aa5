import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { ThornkeyError } from "../errors.ts";
import { hostFiles, LISTING_BYTES } from "../machine/host-files.ts";
import { chosen, mustSayYes } from "./ask-owner.ts";
import { lockHolder } from "./checks/running.ts";
import { CONFIGURATION_FILE, type Configuration, DEFAULTS, readConfiguration } from "./configuration.ts";
import { note, print, printJson, table } from "./output.ts";
import { uninstall } from "./programs/installed.ts";
import type { PlannedFile } from "./programs/recipe.ts";
import { type Choice, choicesFrom, warningsAbout, worthOf } from "./setup/choice.ts";
import {
  type DoneStep,
  enableIn,
  hasSysusers,
  RESTART,
  runSteps,
  START,
  STOP,
  servicesHere,
  stepsAfterRemoving,
  stepsAfterWriting,
  stepText,
} from "./setup/commands.ts";
import { filesFor, MANIFEST } from "./setup/files.ts";
import { type Search, search } from "./setup/finding.ts";
import { findPi } from "./setup/pi.ts";
import { concernsAbout, installedProgram } from "./setup/program.ts";
import { type RootPart, rootPartsOf } from "./setup/root-parts.ts";
import { findSecureElements } from "./setup/secure-elements.ts";
import { findTokens } from "./setup/tokens.ts";
import { findTpms } from "./setup/tpms.ts";
import { modeOf, write } from "./setup/write.ts";

const FINDERS = [findSecureElements, findTpms, findTokens, findPi];

interface SetupOptions {
  readonly root?: string;
  readonly bus: readonly string[];
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly start?: boolean;
  readonly undo?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
  readonly to: string;
  readonly host: string;
  readonly node?: string;
  readonly program?: string;
}

/** `thornkey setup`: from a device with hardware to one with a vault that starts with it. */
export function setupCommand(): Command {
  return new Command("setup")
    .description("find the hardware, explain the choice, and write configuration, users, udev rules and units")
    .option(
      "--root <spec>",
      "the hardware, instead of what is recommended; several that are all needed: A+B",
      (spec: string, before: string | undefined) => (before === undefined ? spec : `${before}+${spec}`),
    )
    .option(
      "--bus <device>",
      "look on this I2C bus, too, whatever it is for",
      (bus, all: string[]) => [...all, bus],
      [],
    )
    .option("--yes", "do not ask; take what is recommended")
    .option("--dry-run", "print every file and every command, and change nothing")
    .option("--start", "start vault and gate, now and at every boot")
    .option("--undo", "take away what setup wrote; the state, the keys and the users stay")
    .option("--force", "also over files that are there already, or that somebody changed")
    .option("--json", "print JSON")
    .option("--to <dir>", "the folder that is taken as /, for an image; then nothing is run", "/")
    .option("--host <dir>", "the directory that is / for which devices there are", "/")
    .option("--node <path>", "Node.js on the device; default: the one that runs this")
    .option("--program <path>", "Thornkey's main.js on the device; default: this one")
    .addHelpText("after", EXPLANATION)
    .action(setup);
}

const EXPLANATION = `
Looking changes nothing, and disturbs no other device on an I2C bus: only the addresses of secure elements are asked, with
one byte that is read, and none that a driver of the kernel has. While a vault runs its buses are left alone.

Exit status: 0 when all is written; 6 when there is no hardware to be on.`;

interface Outcome {
  readonly search: Search;
  readonly recommended: Choice | undefined;
  readonly root: string;
  readonly warnings: readonly string[];
  readonly files: readonly PlannedFile[];
  readonly changed: readonly string[];
  readonly steps: readonly DoneStep[];
  /** For the administrator to run. */
  readonly next: readonly string[];
}

async function setup(options: SetupOptions): Promise<void> {
  if (options.undo) return undo(options);
  const elsewhere = resolve(options.to) !== "/";
  // What the machine has on which an image is built says nothing of the device.
  const before = await configuredBefore(options.to);
  const looked = elsewhere && options.root !== undefined ? undefined : await lookedFor(options, before);
  const found = looked ?? { found: [], troubles: [] };
  const choices = withBefore(before.root, choicesFrom(found));
  if (!options.json) for (const line of searchLines(found, choices)) print(line);
  if (looked !== undefined && process.getuid?.() !== 0) note("not root: what only root may open was not seen");
  const root = options.root ?? (await chooseFrom(choices, found, options));
  const { parts, specification } = rootPartsOf(root);
  const program = installedProgram(options);
  const files = filesFor(specification, parts, program);
  const warnings = [...warningsAbout(parts, looked), ...concernsAbout(program)];
  if (!options.json) for (const warning of warnings) note(`warning: ${warning}`);
  const steps = stepsAfterWriting(parts, hasSysusers());
  const first = found.found.filter(({ root }) => parts.some((part) => part.specification === root));
  const firstLines = first.flatMap((one) => one.first);
  const outcome = { search: found, recommended: choices[0], root: specification, warnings, files };

  if (options.dryRun) {
    const planned = steps.map((step): DoneStep => ({ step, fate: "not run", why: "--dry-run" }));
    show(options, { ...outcome, changed: [], steps: planned, next: [...firstLines, stepText(START)] });
    return;
  }
  if (!elsewhere && process.getuid?.() !== 0) {
    throw new ThornkeyError("NOT_PERMITTED", "this writes below /etc, which only root may", {
      hint: "run it with sudo; --dry-run shows all of it, and --to DIR writes it below another folder",
    });
  }
  if (process.stdin.isTTY)
    await mustSayYes(`Write ${files.length} files for a vault on ${specification}?`, options.yes);
  mkdirSync(options.to, { recursive: true });
  const changed = write(options.to, MANIFEST, files, options.force ?? false);
  const services = elsewhere ? { systemd: false, udev: false } : servicesHere();
  const mayStart = options.start && firstLines.length === 0;
  const all = [...steps, ...(mayStart ? [START, RESTART] : [])];
  const done = elsewhere
    ? all.map((step): DoneStep => ({ step, fate: "not run", why: "for an image: its first boot does it" }))
    : runSteps(changed.length > 0 || mayStart ? all : [], services);
  const waiting = done.filter(({ fate }) => fate !== "done" && !elsewhere).map(({ step }) => stepText(step));
  const enable = elsewhere ? enableIn(resolve(options.to)) : stepText(START);
  const next = [...waiting, ...firstLines, ...(mayStart ? [] : [enable])];
  show(options, { ...outcome, changed, steps: done, next: [...new Set(next)] });
  if (done.some(({ fate }) => fate === "failed")) process.exitCode = 1;
}

/** A configuration that cannot be read keeps nobody from writing or taking away another. */
async function configuredBefore(to: string): Promise<Configuration> {
  try {
    return await readConfiguration(join(to, CONFIGURATION_FILE));
  } catch (error) {
    if (error instanceof ThornkeyError) return {};
    throw error;
  }
}

/** Where a vault is already it stays, unless somebody says otherwise; while it runs, its chip is not even looked for. */
function withBefore(before: string | undefined, choices: readonly Choice[]): readonly Choice[] {
  if (before === undefined) return choices;
  const stay = { root: before, reason: "the configuration that is there says so" };
  return [stay, ...choices.filter(({ root }) => root !== before)];
}

function lookedFor({ host, bus }: SetupOptions, { state = DEFAULTS.state }: Configuration): Promise<Search> {
  const locks = hostFiles("/").text("proc/locks", LISTING_BYTES) ?? "";
  const vault = lockHolder(join(process.env.THORNKEY_STATE ?? state, "lock"), locks);
  return search(FINDERS, { host: hostFiles(host), vault, buses: bus });
}

/** @throws ThornkeyError `ROOT_UNAVAILABLE` when there is nothing; `USAGE` when nobody is here to choose; `ABORTED` */
async function chooseFrom(
  choices: readonly Choice[],
  { found, troubles }: Search,
  { yes, dryRun, json }: SetupOptions,
): Promise<string> {
  const [best] = choices;
  if (best === undefined) {
    if (json) for (const { says } of troubles) note(says);
    const todo = [...found.flatMap(({ notes }) => notes), ...troubles.flatMap(({ todo }) => todo ?? [])];
    throw new ThornkeyError("ROOT_UNAVAILABLE", "there is no hardware here that a vault can be on", {
      hint: `${todo.join("; ")}; --root names it all the same, and --root emulated:FILE is to try it out`,
    });
  }
  if (yes || dryRun) return best.root;
  const options = choices.map(({ root, reason }) => ({ value: root, hint: reason }));
  return chosen("On which hardware shall the vault be?", options, `--yes takes ${best.root}; --root SPEC another`);
}

function searchLines({ found, troubles }: Search, choices: readonly Choice[]): string[] {
  const { head, rows } = worthOf(found);
  const [best] = choices;
  return [
    ...(found.length > 0 ? [...table(head, rows), ""] : []),
    ...found.flatMap(({ root, notes }) => notes.map((text) => `${root}: ${text}`)),
    ...troubles.map(({ kind, says, todo }) => `${kind}: ${says}${todo === undefined ? "" : ` — ${todo}`}`),
    ...(best === undefined ? [] : ["", `recommended: ${best.root}`, `  ${best.reason}`]),
    "",
  ];
}

function show({ json, dryRun }: SetupOptions, outcome: Outcome): void {
  const { files, changed, steps, next, search, ...rest } = outcome;
  if (json) {
    printJson({
      ...search,
      ...rest,
      files: files.map(({ path, text, mode }) => ({ path, mode: modeOf(mode), text })),
      changed,
      steps: steps.map(({ step, fate, why }) => ({ command: stepText(step), fate, why })),
      next,
    });
    return;
  }
  if (dryRun) {
    for (const { path, text, mode } of files) print(`# ${path} (mode ${modeOf(mode)})\n${text}`);
    print("# then these commands are run");
    for (const { step } of steps) print(stepText(step));
  } else {
    for (const path of changed) note(`written: ${path}`);
    if (changed.length === 0) note("nothing to change: all files are as they would be written");
    for (const { step, fate, why } of steps) note(`${fate}: ${stepText(step)}${why === undefined ? "" : ` (${why})`}`);
  }
  if (next.length === 0) return;
  print(dryRun ? "\n# and these are for you" : "next:");
  for (const line of next) print(dryRun ? line : `  ${line}`);
}

async function undo(options: SetupOptions): Promise<void> {
  if (options.dryRun) throw new ThornkeyError("USAGE", "--undo and --dry-run do not go together");
  const elsewhere = resolve(options.to) !== "/";
  const parts = await partsWritten(options.to);
  const services = elsewhere ? { systemd: false, udev: false } : servicesHere();
  const stopped = elsewhere ? [] : runSteps([STOP], services);
  const undone = uninstall(options.to, MANIFEST, options.force ?? false);
  const after = elsewhere ? [] : runSteps(stepsAfterRemoving(parts), services);
  const steps = [...stopped, ...after];
  if (options.json) {
    printJson({ undone, steps: steps.map(({ step, fate, why }) => ({ command: stepText(step), fate, why })) });
    return;
  }
  for (const path of undone) note(`as before: ${path}`);
  for (const { step, fate, why } of steps) note(`${fate}: ${stepText(step)}${why === undefined ? "" : ` (${why})`}`);
  note(`what stays: the state in ${DEFAULTS.state} with its keys, and the users`);
}

/** For what has to be told to udev. */
async function partsWritten(to: string): Promise<readonly RootPart[]> {
  const { root } = await configuredBefore(to);
  try {
    return root === undefined ? [] : rootPartsOf(root).parts;
  } catch (error) {
    if (error instanceof ThornkeyError) return [];
    throw error;
  }
}
