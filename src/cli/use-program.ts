import { type Command, Option } from "commander";
import { ThornkeyError } from "../errors.ts";
import { type AskOptions, asking, show, withVault } from "./ask.ts";
import { note } from "./output.ts";
import { install, uninstall } from "./programs/installed.ts";
import { OPENSSL_WAYS, type Plan, type Recipe } from "./programs/recipe.ts";
import { RECIPES } from "./programs/recipes.ts";
import { folderOf, type SettingOptions, settingOf } from "./programs/setting.ts";
import { quoted } from "./programs/token.ts";

interface UseOptions extends AskOptions, SettingOptions {
  readonly write?: boolean;
  readonly undo?: boolean;
  readonly force?: boolean;
  readonly to: string;
}

/** `thornkey use`: the configuration with which a program uses a key of the vault. */
export function useProgramCommand(): Command {
  const names = Object.entries(RECIPES).map(([name, { about }]) => `  ${name.padEnd(16)}${about}`);
  return asking("use", "configure a program to use a key; prints what to do, and does it with --write")
    .argument("<program>", Object.keys(RECIPES).join(", "))
    .requiredOption("--key <name>", "the key")
    .option("--cert <file>", "its certificate, PEM or DER; without it the one that is attached to the key")
    .addOption(
      new Option("--with <way>", "how programs with OpenSSL 3 reach the key: engine (default) or provider").choices(
        OPENSSL_WAYS,
      ),
    )
    .option("--listen <host:port>", "where the program takes connections")
    .option("--connect <host:port>", "whom the program connects to")
    .option("--authority <file>", "certificates that the other side is checked with")
    .option("--write", "write the files, and keep what was there before")
    .option("--undo", "put everything back as it was before --write")
    .option("--force", "also over files that somebody changed since they were written")
    .option("--to <dir>", "the folder that is taken as /", "/")
    .addHelpText("after", `\nPrograms:\n${names.join("\n")}`)
    .action(use);
}

async function use(program: string, options: UseOptions): Promise<void> {
  const recipe = recipeNamed(program);
  const { manifest } = folderOf(program, options.key);
  if (options.undo) {
    const undone = uninstall(options.to, manifest, options.force ?? false);
    if (options.json) show(options, { undone }, () => []);
    else for (const path of undone) note(`as before: ${path}`);
    return;
  }
  const { setting, missing } = await withVault(options, (vault) => settingOf(vault, program, recipe, options));
  const plan = recipe.plan(setting);
  if (options.write) {
    const { files } = install(options.to, manifest, plan.files, options.force ?? false);
    if (!options.json) for (const { path } of files) note(`written: ${path}`);
  }
  const { key } = options;
  show(options, { program, key, first: missing, ...plan }, () => [
    ...(options.write ? [] : filesAsText(plan)),
    ...section("first: the key is not allowed to whoever signs with it", missing),
    ...section("then", options.write ? plan.steps : [writeLine(program, options), ...plan.steps]),
    ...section("to see that it works", plan.check),
  ]);
}

/** @throws ThornkeyError `USAGE` */
function recipeNamed(program: string): Recipe {
  const recipe = Object.hasOwn(RECIPES, program) ? RECIPES[program] : undefined;
  if (recipe !== undefined) return recipe;
  throw new ThornkeyError("USAGE", `there is no recipe for '${program.slice(0, 60)}'`, {
    hint: `there are ${Object.keys(RECIPES).join(", ")}`,
  });
}

function filesAsText({ files }: Plan): string[] {
  return files.flatMap(({ path, text }) => [`# ${path}`, ...text.trimEnd().split("\n"), ""]);
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`# ${title}`, ...lines, ""];
}

function writeLine(program: string, { key, cert }: UseOptions): string {
  const certificate = cert === undefined ? "" : ` --cert ${quoted(cert)}`;
  return `thornkey use ${program} --key ${quoted(key)}${certificate} --write    # writes these files`;
}
