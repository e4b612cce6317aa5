/** States of a vault in this process, before a root of paper: made, damaged, repaired, opened again. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { checkJournal } from "../../src/operations/journal-check.ts";
import type { RepairReport } from "../../src/operations/repair-report.ts";
import type { ArgsOf, KeyInfo, OperationName, ReplyOf } from "../../src/operations/table.ts";
import { dispatch } from "../../src/vault/dispatch.ts";
import { openVault } from "../../src/vault/open.ts";
import { type RepairOptions, repairVault } from "../../src/vault/repair/repair.ts";
import type { OpenVault } from "../../src/vault/vault.ts";
import { HERE, writeHost } from "./lab.ts";
import { blankPaper, copyPaper, opening, type Paper } from "./paper-root.ts";

/** A state on the disk, and the root it was made on. */
export interface Place {
  readonly folder: string;
  readonly paper: Paper;
  readonly host: string;
}

export interface RepairLab {
  readonly folder: string;
  place(name: string): Place;
  /** State and root at one instant. */
  copy(from: Place, name: string): Place;
  close(): void;
}

export function openRepairLab(): RepairLab {
  const folder = mkdtempSync(join(tmpdir(), "thornkey-repair-lab-"));
  const host = writeHost(join(folder, "host"), HERE);
  return {
    folder,
    place: (name) => ({ folder: join(folder, name), paper: blankPaper(), host }),
    copy(from, name) {
      cpSync(from.folder, join(folder, name), { recursive: true });
      return { folder: join(folder, name), paper: copyPaper(from.paper), host };
    },
    close: () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }),
  };
}

export function open(place: Place): Promise<OpenVault> {
  return openVault({ state: place.folder, root: "paper:", host: place.host, openRoot: opening(place.paper) });
}

export function repair(place: Place, options: Partial<RepairOptions> = {}): Promise<RepairReport> {
  return repairVault({
    ...{ state: place.folder, root: "paper:", host: place.host, openRoot: opening(place.paper) },
    ...{ dryRun: false, acceptRollback: false, onlyProved: false, keep: [] },
    ...options,
  });
}

/** Somebody asks a vault, as its gate would. */
export async function ask<Name extends OperationName>(
  vault: OpenVault,
  uid: number,
  operation: Name,
  args: ArgsOf<Name>,
): Promise<ReplyOf<Name>> {
  const facts = { uid, gid: uid, groups: [], pid: 1, front: "http" };
  const request = {
    caller: { facts, programSha256: async () => undefined },
    requestKey: undefined,
    signal: new AbortController().signal,
    subscribe: async () => 0,
    othersWait: false,
    onGone: () => {},
  };
  return (await dispatch(vault, request, operation, args)) as ReplyOf<Name>;
}

/** @returns the code of the error that must come, or `done` */
export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "done",
    (error) => (error as { code?: string }).code ?? String(error),
  );
}

/** Keys of two users and of a namespace, one in the root, one with limited uses, one deleted, one with counted uses. */
export async function furnish(place: Place, many = 6): Promise<readonly KeyInfo[]> {
  const vault = await open(place);
  const keys: KeyInfo[] = [];
  const make = async (uid: number, args: ArgsOf<"key.create">) => {
    keys.push((await ask(vault, uid, "key.create", args)).key);
  };
  await ask(vault, 0, "namespace.create", { name: "acme", administrators: ["uid:1000"] });
  await ask(vault, 0, "device.change", { auditors: ["uid:7"] });
  for (let i = 0; i < many; i++) {
    await make(1000 + (i % 2), { name: `k${i}`, type: i % 3 === 0 ? "ed25519" : "p256" });
  }
  await make(1000, { name: "acme/shared", type: "p256" });
  await make(1000, { name: "silicon", type: "p256", protection: "resident" });
  await make(1000, { name: "twice", type: "p256", fixed: { maximumUses: 2 } });
  await make(1000, { name: "slowly", type: "p256", fixed: { maximumUsesPerBoot: 3 } });
  await ask(vault, 1000, "key.create", { name: "gone", type: "p256" });
  await ask(vault, 1000, "key.policy", { key: "k0", policy: { rate: { uses: 900_000, seconds: 1 } } });
  await ask(vault, 1000, "sign", { key: "twice", data: new Uint8Array(3) });
  await ask(vault, 1000, "key.delete", { key: "gone" });
  await vault.close();
  return keys;
}

export const database = (place: Place): string => join(place.folder, "vault.db");

/**
 * A key that is here is the key that was made: it signs, and the signature is of its public part.
 *
 * @returns `signs`, or the code of why not
 */
export async function useOf(vault: OpenVault, key: KeyInfo): Promise<string> {
  const data = new Uint8Array(20);
  try {
    const { key: now } = await ask(vault, key.owner, "key.show", { key: key.id });
    const { signature } = await ask(vault, key.owner, "sign", { key: key.id, data });
    const spki = createPublicKey({ key: Buffer.from(key.publicKey ?? []), format: "der", type: "spki" });
    const digest = key.type === "ed25519" ? null : "sha256";
    if (!verify(digest, data, { key: spki, dsaEncoding: "ieee-p1363" }, signature)) return "WRONG SIGNATURE";
    return now.name === key.name ? "signs" : "WRONG NAME";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** @throws Error when the journal's chain does not hold */
export function mustBeChained(place: Place): readonly string[] {
  const opened = new DatabaseSync(database(place), { readOnly: true });
  const lines = opened
    .prepare("select line from journal order by sequence")
    .all()
    .map(({ line }) => String(line));
  opened.close();
  const { problem } = checkJournal(lines);
  if (problem !== undefined) throw new Error(`the journal is wrong at ${problem.entry}: ${problem.what}`);
  return lines;
}

export function digestOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}
