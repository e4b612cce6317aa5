/** The options of `thornkey key` that say what a key may do, and for whom. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { KEY_USES, type KeyUse } from "../operations/key-types.ts";
import {
  ALGORITHMS,
  type Algorithm,
  DIGEST_NAMES,
  type FixedPolicy,
  type Grant,
  type Policy,
  RIGHTS,
  type Right,
} from "../operations/policy.ts";
import { parseWho } from "../operations/who.ts";
import { readInput, whoOf } from "./ask.ts";

export interface PolicyOptions {
  readonly allow?: readonly Grant[];
  readonly rate?: { readonly uses: number; readonly seconds: number };
  readonly confirm?: boolean;
  readonly recordUses?: boolean;
}

export interface NewKeyOptions extends PolicyOptions {
  readonly use?: readonly KeyUse[];
  readonly algorithm?: readonly Algorithm[];
  readonly digest?: readonly (typeof DIGEST_NAMES)[number][];
  readonly notBefore?: number;
  readonly makeUntil?: number;
  readonly checkUntil?: number;
  readonly maxUses?: number;
  readonly maxUsesPerBoot?: number;
  readonly minSeconds?: number;
  readonly earlyBootOnly?: boolean;
  readonly export?: "never" | "wrapped";
  readonly backup?: "never" | "allowed";
  readonly person?: readonly string[];
  readonly ingredientFile?: string;
}

/** What who manages a key can change later. */
export function withPolicyOptions(command: Command): Command {
  return command
    .option(
      "--allow <who[=rights]>",
      `besides the owner: me, any, uid:N, gid:N, program:PATH, unit:NAME, …; rights of ${RIGHTS.join(",")} (use)`,
      grants,
    )
    .option("--rate <n/seconds>", "at most so many uses in so many seconds", rate)
    .option("--confirm", "an owner must confirm every use")
    .option("--record-uses", "every use is in the journal before its answer leaves");
}

/** What is decided for ever when a key is made. */
export function withFixedOptions(command: Command): Command {
  return command
    .option("--use <uses>", `purposes, of ${KEY_USES.join(",")}`, listOf(KEY_USES))
    .option("--algorithm <names>", `of ${ALGORITHMS.join(",")}; all without it`, listOf(ALGORITHMS))
    .option("--digest <names>", `of ${DIGEST_NAMES.join(",")}; all without it`, listOf(DIGEST_NAMES))
    .option("--not-before <date>", "nothing is made or checked before, as 2027-01-31 or 2027-01-31T12:00:00Z", date)
    .option("--make-until <date>", "nothing is signed, encrypted or agreed after", date)
    .option("--check-until <date>", "nothing is verified or decrypted after", date)
    .option("--max-uses <n>", "uses in total; then the key is destroyed", positive)
    .option("--max-uses-per-boot <n>", "uses until the next start of the device", positive)
    .option("--min-seconds <n>", "seconds between two uses", positive)
    .option("--early-boot-only", "usable only until the start of the device is complete")
    .addOption(new Option("--export <rule>", "may it leave, wrapped under another key").choices(["never", "wrapped"]))
    .addOption(new Option("--backup <rule>", "may it be in backup shares").choices(["never", "allowed"]))
    .option("--person <names>", "used only while one of these people is there: thornkey user prove", names)
    .option("--ingredient-file <file>", "bytes that must be presented at every use");
}

/** @returns nothing where no option was given */
export function policyOf({ allow, rate: most, confirm, recordUses }: PolicyOptions): Policy | undefined {
  const policy: Policy = {
    ...(allow && { allow: [...allow] }),
    ...(most && { rate: most }),
    ...(confirm !== undefined && { confirm }),
    ...(recordUses !== undefined && { recordUses }),
  };
  return Object.keys(policy).length === 0 ? undefined : policy;
}

/** @returns nothing where no option was given */
export function fixedOf(options: NewKeyOptions): FixedPolicy | undefined {
  const { use, algorithm, digest, notBefore, makeUntil, checkUntil, maxUses, maxUsesPerBoot, minSeconds } = options;
  const all = {
    uses: use,
    algorithms: algorithm,
    digests: digest,
    notBefore,
    makeUntil,
    checkUntil,
    maximumUses: maxUses,
    maximumUsesPerBoot: maxUsesPerBoot,
    minimumSecondsBetweenUses: minSeconds,
    earlyBootOnly: options.earlyBootOnly,
    persons: options.person,
    ingredient: options.ingredientFile === undefined ? undefined : true,
    export: options.export,
    backup: options.backup,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return Object.keys(given).length === 0 ? undefined : (given as FixedPolicy);
}

/** @returns what `--ingredient-file` names, to be destroyed after use */
export function ingredientOf({ ingredientFile }: { readonly ingredientFile?: string }): Secret | undefined {
  return ingredientFile === undefined ? undefined : new Secret(readInput(ingredientFile));
}

function names(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...text.split(",")];
}

function grants(text: string, before: readonly Grant[] = []): readonly Grant[] {
  const split = /^(.*)=((?:[a-z]+,)*[a-z]+)$/.exec(text);
  const rights = split?.[2]?.split(",") ?? ["use"];
  const known = rights.every((right): right is Right => (RIGHTS as readonly string[]).includes(right));
  if (!known) throw new InvalidArgumentError(`Rights are ${RIGHTS.join(", ")}.`);
  const who = whoOf(split?.[1] ?? text);
  parseWho(who);
  return [...before, { who, rights: rights as Right[] }];
}

function rate(text: string): { uses: number; seconds: number } {
  const [, uses, seconds] = /^(\d{1,7})\/(\d{1,5})$/.exec(text) ?? [];
  if (uses === undefined || seconds === undefined) throw new InvalidArgumentError("Write 10/60 for ten a minute.");
  return { uses: Number(uses), seconds: Number(seconds) };
}

function listOf<Name extends string>(names: readonly Name[]) {
  return (text: string, before: readonly Name[] = []): readonly Name[] => {
    const given = text.split(",");
    const known = given.every((name): name is Name => (names as readonly string[]).includes(name));
    if (!known) throw new InvalidArgumentError(`Allowed are ${names.join(", ")}.`);
    return [...before, ...(given as Name[])];
  };
}

function positive(text: string): number {
  if (!/^[1-9]\d{0,12}$/.test(text)) throw new InvalidArgumentError("Not a whole number above 0.");
  return Number(text);
}

/** @returns seconds since 1970; a date alone is its first second, UTC */
function date(text: string): number {
  const pattern = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d))?$/;
  const time = pattern.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isFinite(time)) throw new InvalidArgumentError("Write 2027-01-31 or 2027-01-31T12:00:00Z.");
  return Math.floor(time / 1000);
}

/** @throws ThornkeyError `USAGE` */
export function onlyOne(first: boolean | undefined, second: boolean | undefined, words: string): void {
  if (first && second) throw new ThornkeyError("USAGE", `${words} exclude each other`);
}
