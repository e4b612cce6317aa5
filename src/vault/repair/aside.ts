/** What was there before a repair stays: evidence, and what cannot be restored now may be later. */
import { closeSync, copyFileSync, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { ThornkeyError } from "../../errors.ts";
import { writeAtomically } from "../../machine/atomic-file.ts";
import { LOSSES, type RepairReport } from "../../operations/repair-report.ts";
import { BESIDE, DAMAGED, FILES } from "../places.ts";
import type { JournalEvidence } from "./journal-evidence.ts";

/**
 * Copies the state's files into a directory of their own.
 *
 * @returns the directory
 * @throws ThornkeyError `STATE_UNWRITABLE`; nothing was changed
 */
export function copyAside(folder: string, now: number): string {
  const time = new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, "");
  let aside = join(folder, `${DAMAGED}${time}`);
  for (let number = 2; existsSync(aside); number++) aside = join(folder, `${DAMAGED}${time}-${number}`);
  try {
    mkdirSync(aside, { mode: 0o700 });
    for (const name of [...["", ...BESIDE].map((beside) => `${FILES.database}${beside}`), FILES.header]) {
      if (!existsSync(join(folder, name))) continue;
      copyFileSync(join(folder, name), join(aside, name));
      onDisk(join(aside, name));
    }
    onDisk(aside);
    onDisk(folder);
  } catch (cause) {
    throw new ThornkeyError("STATE_UNWRITABLE", `the damaged files cannot be copied aside; nothing was changed`, {
      hint: "make room: a repair needs twice the space of the state",
      cause,
    });
  }
  return aside;
}

/** Writes what was found and does not go into the new state: a report, lines of the journal, public keys. */
export function writeFindings(aside: string, journal: JournalEvidence, report: RepairReport): void {
  const write = (name: string, text: string) => writeAtomically(join(aside, name), new TextEncoder().encode(text));
  write("report.json", `${JSON.stringify(report, undefined, 2)}\n`);
  if (journal.aside.length > 0) write("journal-aside.jsonl", journal.aside.map((line) => `${line}\n`).join(""));
  for (const { name, id, publicKey, outcome } of report.keys) {
    if (publicKey === undefined || !LOSSES.has(outcome)) continue;
    const lines = publicKey.match(/.{1,64}/g) ?? [];
    const pem = ["-----BEGIN PUBLIC KEY-----", ...lines, "-----END PUBLIC KEY-----", ""].join("\n");
    write(`${name.replaceAll(/[^A-Za-z0-9_.@~-]/g, "_")}-${id.slice(0, 8)}.pem`, pem);
  }
}

function onDisk(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
