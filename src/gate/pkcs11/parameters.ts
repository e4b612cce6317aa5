/** Parameters of mechanisms, as far as several calls share them. */
import { CKR } from "./constants.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { HASHES, type Hash, hashOf } from "./mechanisms.ts";
import { refuse } from "./refusals.ts";

export interface Pss {
  readonly hash: Hash;
  readonly saltLength: number;
}

/** @param hash the one that the mechanism names, if it does @throws Refusal CKR_MECHANISM_PARAM_INVALID */
export function pssOf({ fields }: Mechanism, hash: Hash | undefined): Pss {
  const [mechanism, mgf, saltLength] = fields ?? [];
  const given = typeof mechanism === "number" ? hashOf(mechanism) : undefined;
  if (given === undefined || (hash !== undefined && given !== hash)) refuse(CKR.MECHANISM_PARAM_INVALID);
  if (mgf !== HASHES[given].mgf) refuse(CKR.MECHANISM_PARAM_INVALID);
  if (typeof saltLength !== "number" || saltLength < 0 || saltLength > 512) refuse(CKR.MECHANISM_PARAM_INVALID);
  return { hash: given, saltLength };
}

/** @returns a number that must be in a range @throws Refusal CKR_MECHANISM_PARAM_INVALID */
export function numberFrom(field: unknown, least: number, most: number): number {
  return typeof field === "number" && field >= least && field <= most ? field : refuse(CKR.MECHANISM_PARAM_INVALID);
}

/** @returns bytes, of a fixed length if one is given @throws Refusal CKR_MECHANISM_PARAM_INVALID */
export function bytesFrom(field: unknown, length?: number): Uint8Array {
  if (field instanceof Uint8Array && (length === undefined || field.length === length)) return field.slice();
  return refuse(CKR.MECHANISM_PARAM_INVALID);
}

/** @throws Refusal CKR_MECHANISM_PARAM_INVALID */
export function mustHaveNone({ fields }: Mechanism): void {
  if (fields !== null) refuse(CKR.MECHANISM_PARAM_INVALID);
}
