/** `thornkey tpm lockout`: a TPM's defence against guessing (dictionary-attack protection, TPM 2.0 Part 1, 19.8). */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { connect, type RootLockout, type Thornkey } from "../client/index.ts";
import { ThornkeyError } from "../errors.ts";
import { hostFiles, LISTING_BYTES } from "../machine/host-files.ts";
import { takeLock } from "../machine/lock-file.ts";
import type { Lockout } from "../roots/root.ts";
import { parseRootParts } from "../roots/root-parts.ts";
import { lockoutOwner, rootFilePath } from "../roots/tpm/lockout.ts";
import { readRootFile } from "../roots/tpm/root-file.ts";
import type { TpmSurvey } from "../roots/tpm/survey.ts";
import { lockHolder } from "./checks/running.ts";
import { print, printJson } from "./output.ts";
import { type TpmOptions, visiting } from "./tpm.ts";

export interface LockoutOptions extends TpmOptions {
  readonly state: string;
  readonly run: string;
}

/** Milliseconds a vault may take to be there, where a socket is. */
const PATIENCE = 3000;

export async function showLockout(options: LockoutOptions): Promise<void> {
  const asked = await fromVault(options, (vault) => vault.roots.lockouts());
  show(options, chosen(asked, options.root) ?? (await looked(options)));
}

export async function resetLockout(options: LockoutOptions): Promise<void> {
  const { root, state } = options;
  const asked = await fromVault(options, async (vault) => {
    const one = chosen(await vault.roots.lockouts(), root);
    return one === undefined ? undefined : await vault.roots.resetLockout({ root: one.serial });
  });
  const afterwards = chosen(asked, root);
  if (afterwards !== undefined) {
    show(options, afterwards);
    return;
  }
  // The authorisation is used by one process at a time.
  const release = takeLock(join(state, "lock"), `the state in ${state}`);
  try {
    await visiting(root, (tpm) => tpm.resetLockout(join(state, "roots")));
  } finally {
    release();
  }
  show(options, await looked(options));
}

/** A running vault has the TPM, and the authorisation: it is asked. @returns undefined when none runs */
async function fromVault<T>(
  { state, run }: LockoutOptions,
  ask: (vault: Thornkey) => Promise<T>,
): Promise<T | undefined> {
  const holder = lockHolder(join(state, "lock"), hostFiles("/").text("proc/locks", LISTING_BYTES) ?? "");
  if (holder === undefined && !existsSync(join(run, "api.sock"))) return undefined;
  try {
    await using vault = await connect({ run, patience: PATIENCE });
    return await ask(vault);
  } catch (error) {
    const away = error instanceof ThornkeyError && error.code === "VAULT_UNAVAILABLE";
    if (away && holder === undefined) return undefined;
    if (!away) throw error;
    throw new ThornkeyError(
      "VAULT_UNAVAILABLE",
      `process ${holder} has the state open, and does not answer in ${run}`,
      {
        hint: "--run names the folder of its sockets; or end the vault first",
        cause: error,
      },
    );
  }
}

/**
 * The vault's TPM that was meant: its only one where none was named.
 *
 * @returns undefined when it is none of the vault's
 * @throws ThornkeyError `USAGE`
 */
function chosen(lockouts: readonly RootLockout[] | undefined, root: string | undefined): RootLockout | undefined {
  if (lockouts === undefined) return undefined;
  const meant = lockouts.filter(({ specification }) => root === undefined || namesOf(root).includes(specification));
  if (meant.length <= 1) return meant[0];
  throw new ThornkeyError("USAGE", "the vault has several TPMs", {
    hint: `--root ${meant.map(({ specification }) => specification).join(", or ")}`,
  });
}

/** Whoever starts the vault writes several roots as one. */
function namesOf(root: string): readonly string[] {
  return [root, ...parseRootParts(root).parts];
}

async function looked({ root, state }: LockoutOptions): Promise<Lockout> {
  const survey = await visiting(root, (tpm) => tpm.survey());
  return { ...survey.lockout, locked: survey.permanent.inLockout, owner: ownerIn(state, survey) };
}

/** Whether the lockout authorisation is the one in a state's files. @throws ThornkeyError `NOT_PERMITTED`, `MALFORMED` */
export function ownerIn(state: string, { serial, storageKey, permanent }: TpmSurvey): Lockout["owner"] {
  const file = serial === undefined ? undefined : readRootFile(rootFilePath(join(state, "roots"), serial));
  try {
    return lockoutOwner(permanent, file, storageKey && new Uint8Array(Buffer.from(storageKey.name, "hex")));
  } finally {
    file?.seed.destroy();
    file?.lockout.destroy();
  }
}

const OWNERS: { readonly [Owner in Lockout["owner"]]: string } = {
  vault: "this vault's ('thornkey tpm lockout reset' uses it)",
  nobody: "nobody's, so everybody who opens the TPM can clear it; the next vault on it takes it",
  other: "not in this state: another program's, or another vault's; only who set it can reset",
};

function show({ json }: TpmOptions, { failures, most, interval, recovery, locked, owner }: Lockout): void {
  if (json) {
    printJson({ failures, most, interval, recovery, locked, owner });
    return;
  }
  print(`failures       ${failures}, and at ${most} it locks`);
  print(`locked         ${locked ? `yes, for ${durationText(interval)} at most` : "no"}`);
  print(
    `forgets        one failure in ${durationText(interval)}; a wrong lockout authorisation in ${durationText(recovery)}`,
  );
  print(`authorisation  ${OWNERS[owner]}`);
  print("keys           of a vault work while it is locked: their authorisations are random, and do not count (noDA)");
}

const UNITS = [
  [3600, "h"],
  [60, "min"],
] as const;

/** @param seconds that are whole hours or minutes are said as such */
function durationText(seconds: number): string {
  const [size, unit] = UNITS.find(([size]) => seconds >= size && seconds % size === 0) ?? [1, "s"];
  return `${seconds / size} ${unit}`;
}
