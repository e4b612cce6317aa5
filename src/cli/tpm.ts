import { Argument, Command, Option } from "commander";
import { toHex } from "../bytes/bytes.ts";
import { ThornkeyError } from "../errors.ts";
import { parseRootParts } from "../roots/root-parts.ts";
import { parseTpmLocation, type TpmLocation } from "../roots/tpm/location.ts";
import { type KeptObject, nothingMeasuredIn, type Pcr, type TpmSurvey } from "../roots/tpm/survey.ts";
import { type TpmVisit, visitTpm } from "../roots/tpm/visit.ts";
import { print, printJson } from "./output.ts";
import { type LockoutOptions, resetLockout, showLockout } from "./tpm-lockout.ts";
import { runOption, stateOption } from "./up.ts";

/** `thornkey tpm`: a TPM 2.0, looked at without a vault, and its defence against guessing. */
export function tpmCommand(): Command {
  const command = new Command("tpm").description("a TPM 2.0: what is in it, its defence against guessing, its PCRs");
  const root = () =>
    new Option("--root <spec>", "where the TPM is: tpm:/dev/tpmrm0 (default) or tpm:unix:/path.sock").env(
      "THORNKEY_ROOT",
    );
  const sub = (name: string, description: string) =>
    command.command(name).description(description).addOption(root()).option("--json", "print JSON");
  sub("info", "who it is, and what is in it; changes nothing").action(showInfo);
  sub("pcrs", "what was measured at boot (SHA-256), and what that is worth").action(showPcrs);
  // With the vault's places: the state has the authorisation, and a running vault the TPM.
  sub("lockout", "failures it counted, whether it is locked, and who can make it forget them")
    .addArgument(new Argument("[reset]", "make it forget the failures").choices(["reset"]))
    .addOption(stateOption())
    .addOption(runOption())
    .action((reset: string | undefined, options: LockoutOptions) => (reset ? resetLockout : showLockout)(options));
  return command;
}

export interface TpmOptions {
  readonly root?: string | undefined;
  readonly json?: boolean;
}

const USUAL = "tpm:/dev/tpmrm0";

/**
 * @param specification of a TPM, or of several roots with one among them, as a vault is started with
 * @throws ThornkeyError `USAGE`
 */
export function tpmIn(specification: string = USUAL): TpmLocation {
  if (specification.startsWith("tpm:") && !/[+,]/.test(specification)) return parseTpmLocation(specification);
  const { parts } = parseRootParts(specification);
  const [only, ...others] = parts.filter((part) => part.startsWith("tpm:"));
  if (only === undefined || others.length > 0) {
    throw new ThornkeyError("USAGE", `'${specification.slice(0, 100)}' names ${only ? "several TPMs" : "no TPM"}`, {
      hint: `--root ${USUAL}`,
    });
  }
  return parseTpmLocation(only);
}

/** Has something asked, and closes the TPM whatever happens. */
export async function visiting<T>(
  specification: string | undefined,
  action: (tpm: TpmVisit) => Promise<T>,
): Promise<T> {
  const visit = visitTpm(tpmIn(specification));
  try {
    return await action(visit);
  } catch (error) {
    if (!(error instanceof ThornkeyError) || error.code !== "ROOT_UNAVAILABLE" || error.hint !== undefined) throw error;
    throw new ThornkeyError(error.code, error.message, {
      hint: "does another program have it open, such as the vault? Without a resource manager a TPM serves one at a time",
      cause: error,
    });
  } finally {
    await visit.close();
  }
}

async function showInfo({ root, json }: TpmOptions): Promise<void> {
  const survey = await visiting(root, (tpm) => tpm.survey());
  if (json) printJson(asJson(survey));
  else for (const [name, value] of linesOf(survey)) print(`${name.padEnd(16)}${value}`);
}

/** Handles as people write them. */
export function handleText(handle: number): string {
  return `0x${handle.toString(16).padStart(8, "0")}`;
}

function asJson({ storageKey, persistent, indices, transient, sessions, ...plain }: TpmSurvey) {
  const kept = ({ handle, ...rest }: KeptObject) => ({ handle: handleText(handle), ...rest });
  return {
    ...plain,
    ...(storageKey && { storageKey: kept(storageKey) }),
    persistent: persistent.map(kept),
    indices: indices.map(({ index, ...rest }) => ({ index: handleText(index), ...rest })),
    transient: transient.map(handleText),
    sessions: sessions.map(handleText),
  };
}

function linesOf(survey: TpmSurvey): [string, string][] {
  const { manufacturer, vendor, firmware, curves, permanent, lockout, storageKey } = survey;
  const set = (is: boolean) => (is ? "set" : "empty");
  return [
    ["TPM", `${manufacturer}${vendor && ` ${vendor}`}, firmware ${firmware}`],
    ["serial", survey.serial ?? "none yet: it has no storage key"],
    ["curves", curves.join(", ")],
    [
      "authorisations",
      `owner ${set(permanent.ownerAuthSet)}, endorsement ${set(permanent.endorsementAuthSet)}, lockout ${set(permanent.lockoutAuthSet)}`,
    ],
    ["clearing", permanent.disableClear ? "disabled, except by the platform" : "by the lockout authorisation"],
    [
      "failures",
      `${lockout.failures} of ${lockout.most}${permanent.inLockout ? ", locked" : ""} ('thornkey tpm lockout' says more)`,
    ],
    [
      "storage key",
      storageKey === undefined ? "none at 0x81000001" : `${objectText(storageKey)}, name ${storageKey.name}`,
    ],
    ...survey.persistent.map((one): [string, string] => [`  ${handleText(one.handle)}`, objectText(one)]),
    ...survey.indices.map(({ index, bytes, counter, written }): [string, string] => [
      `  ${handleText(index)}`,
      `${bytes} bytes of memory${counter ? ", a counter" : ""}${written ? "" : ", never written"}`,
    ]),
    ["certificates", survey.certificates.join("; ") || "none of an endorsement key"],
    ["loaded", `${survey.transient.length} objects, ${survey.sessions.length} sessions`],
  ];
}

function objectText({ type, storageKey, noDA, for: uses }: KeptObject): string {
  const what = storageKey ? "storage key" : uses.length > 0 ? `to ${uses.join(" and ")}` : "no key to sign or decrypt";
  return `${type}, ${what}, ${noDA ? "noDA" : "a wrong authorisation counts as a failure"}`;
}

async function showPcrs({ root, json }: TpmOptions): Promise<void> {
  const pcrs = await visiting(root, (tpm) => tpm.pcrs());
  const measured = !nothingMeasuredIn(pcrs);
  if (json) printJson({ bank: "sha256", pcrs: pcrs.map(({ pcr, value }) => ({ pcr, value: toHex(value) })), measured });
  else {
    for (const { pcr, value } of pcrs) print(`${String(pcr).padStart(2)}  ${toHex(value)}`);
    print(verdictOn(pcrs, measured));
  }
}

function verdictOn(pcrs: readonly Pcr[], measured: boolean): string {
  if (pcrs.length === 0) return "this TPM has no SHA-256 bank";
  return measured
    ? "something was measured at boot; whether that can be trusted depends on who measured first"
    : "PCRs 0 to 7 are zero: nothing was measured at boot, and a policy on them protects nothing";
}
