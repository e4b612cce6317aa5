/** What the paths of the TPM's bench have in common. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TpmLab } from "../test/roots/tpm/lab.ts";
import { buildLoop } from "./pkcs11.ts";

/** Where the measured key lies in the TPM. */
export const PERSISTENT = 0x81000100;

/** Signatures a second in one round. */
export type Round = (seconds: number) => Promise<number>;

export type AtEnd = (end: () => Promise<void>) => void;

/** @returns what measures a round, or the names of what is missing for it */
export type Starter = (lab: TpmLab, atEnd: AtEnd) => Promise<Round | string>;

/** Once for each lab: a thing that several paths use. */
export function shared<T>(make: (lab: TpmLab, atEnd: AtEnd) => Promise<T>) {
  const made = new WeakMap<TpmLab, Promise<T>>();
  return (lab: TpmLab, atEnd: AtEnd = () => {}): Promise<T> => {
    const known = made.get(lab) ?? make(lab, atEnd);
    made.set(lab, known);
    return known;
  };
}

/** The program that signs by a PKCS#11 module, built once for each lab. */
export function loopIn(folder: string): string {
  const built = join(folder, "loop");
  return existsSync(built) ? built : buildLoop(folder);
}
