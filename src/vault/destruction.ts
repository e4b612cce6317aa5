/**
 * The end of a vault: crypto-shredding. What is on the disk is worthless once the root's keys and the sealed master key
 * are overwritten; the hardware stays usable and can be enrolled anew.
 */
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ThornkeyError } from "../errors.ts";
import { writeAtomically } from "../machine/atomic-file.ts";
import type { CallerFacts } from "../operations/who.ts";
import { checkpoint } from "./journal.ts";
import { BESIDE, DAMAGED, FILES } from "./places.ts";
import { openRoot, type RootOptions } from "./root-spec.ts";
import { openDatabase } from "./store/database.ts";
import type { OpenVault } from "./vault.ts";

/** What lies in the state's directory from the moment a destruction began. */
export interface Latch {
  /** ISO 8601 */
  readonly time: string;
  readonly reason: string;
  readonly device: string;
  /** Serial number of the root whose keys are to be overwritten. */
  readonly root: string | undefined;
  /** Of a root of several parts: where they are, and their serial numbers. */
  readonly parts?: readonly { readonly specification: string; readonly serial: string }[] | undefined;
  readonly done: boolean;
}

/**
 * Each step makes the next ones unnecessary for secrecy, so that a loss of power anywhere leaves nothing that opens: the
 * latch says that it began, and whoever starts the vault then goes on from there.
 */
export async function destroyVault(
  vault: OpenVault,
  caller: CallerFacts | undefined,
  reason: string,
): Promise<{ destroyed: readonly string[]; kept: readonly string[] }> {
  // 1. The latch, and the last entry of the journal, signed while there is a key to sign with.
  const begun = vault.state.change(
    (change) => {
      change.setHead({ frozen: { since: vault.now(), reason: `it is being destroyed: ${reason}` } });
      change.journal({ kind: "vault.destroyed", text: `the vault was destroyed: ${reason}`, caller });
    },
    { counted: true },
  );
  await begun.catch((error) => {
    // Written, and the root did not answer when it was to count: that must not keep us from destroying either.
    if (!(error instanceof ThornkeyError) || error.code !== "OUTCOME_UNKNOWN") throw error;
  });
  await signJournal(vault).catch(() => {
    // A root that cannot sign any more must not keep us from destroying.
  });
  vault.destroyed = true;
  vault.walletSessions.end();
  vault.keyring.close();
  vault.latch(reason, false);
  // 2. The sealed master key and every record, overwritten where SQLite put them.
  vault.shredStore();
  // 3. The root's own keys.
  const report = await vault.root.root.zeroize();
  vault.latch(reason, true);
  return {
    destroyed: ["the sealed master key", "all wrapped keys", ...report.destroyed],
    kept: report.kept,
  };
}

/** Has the evidence key sign how far the journal has come. */
export async function signJournal(vault: OpenVault): Promise<void> {
  const { journal } = vault.state.head;
  // The last checkpoint is an entry itself, and nothing new by itself.
  if (journal.sequence - journal.signed <= 1 || !vault.rootDescription.capabilities.certify) return;
  const certification = await vault.root.root.certify(journal.hash);
  await vault.state.change((change) => {
    change.journal(checkpoint(journal, certification));
    // The checkpoint itself is covered by the next one.
    change.signedUpTo(journal.sequence);
  });
}

export function writeLatch(folder: string, latch: Latch): void {
  writeAtomically(join(folder, FILES.destroyed), new TextEncoder().encode(`${JSON.stringify(latch)}\n`));
}

/** @returns undefined when the vault was not destroyed; a latch that cannot be read counts as one */
export function readLatch(folder: string): Latch | undefined {
  let text: string;
  try {
    text = readFileSync(join(folder, FILES.destroyed), "utf8");
  } catch {
    return undefined;
  }
  let said: Partial<Latch> = {};
  try {
    said = JSON.parse(text) as Partial<Latch>;
  } catch {
    // Damaged, and it is there.
  }
  const { time = "some time", reason = "nobody knows why", device = "", root, parts, done = root === undefined } = said;
  return { time, reason, device, root, parts, done };
}

/**
 * Goes on with a destruction that was interrupted. Each step may be done twice.
 *
 * @throws ThornkeyError what the root or the disk says
 */
export async function finishDestruction(
  options: { state: string; root: string; timing?: RootOptions["timing"]; openRoot?: typeof openRoot | undefined },
  latch: Latch,
): Promise<void> {
  const { state, root: specification, timing, openRoot: open = openRoot } = options;
  let failure: unknown;
  try {
    shredFiles(state);
    shredCopies(state);
  } catch (error) {
    failure = error; // a disk that fails must not save the root's keys
  }
  const single = latch.root === undefined ? [] : [{ specification, serial: latch.root }];
  for (const part of latch.parts ?? single) {
    try {
      const root = await open(part.specification, { state, expected: { serial: part.serial }, timing });
      await root.root.zeroize().finally(() => root.close());
    } catch (error) {
      // A root that proves that it was cleared has nothing left to overwrite.
      if (error instanceof ThornkeyError && error.code === "DESTROYED") continue;
      failure ??= error; // a part that fails must not save the others
    }
  }
  if (failure !== undefined) throw failure;
  writeLatch(state, { ...latch, done: true });
}

/** The database of a vault that is not open; its journal stays when it can be read. */
function shredFiles(folder: string): void {
  const path = join(folder, FILES.database);
  try {
    const database = openDatabase(path);
    try {
      database.shred();
    } finally {
      database.close();
    }
  } catch (error) {
    if (!(error instanceof ThornkeyError) || error.code !== "STATE_DAMAGED") throw error;
    for (const name of ["", ...BESIDE]) overwrite(`${path}${name}`);
  }
}

/** Everything that is sealed outside of the database: the header's copy, what repairs left. */
export function shredCopies(folder: string): void {
  writeAtomically(join(folder, FILES.header), new Uint8Array(0));
  for (const name of [FILES.repaired, FILES.repairing]) overwrite(join(folder, name));
  for (const damaged of readdirSync(folder).filter((name) => name.startsWith(DAMAGED))) {
    for (const name of readdirSync(join(folder, damaged))) {
      if (name === FILES.header || name.startsWith(FILES.database)) overwrite(join(folder, damaged, name));
    }
  }
}

/** Zeros over a file, as far as it goes: what is under a file system's or a card's own layers nobody reaches. */
function overwrite(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) return;
  const file = openSync(path, "r+");
  try {
    const zeros = new Uint8Array(65_536);
    for (let at = 0; at < size; at += zeros.length) writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
