/** How the front says no: a CK_RV, which is also what every ThornkeyError becomes. */
import { type ErrorCode, ThornkeyError } from "../../errors.ts";
import { Malformed } from "./codec.ts";
import { CKR } from "./constants.ts";

/** Ends a call with a CK_RV. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly rv: number;

  constructor(rv: number) {
    super(`CK_RV 0x${rv.toString(16)}`);
    this.rv = rv;
  }
}

export function refuse(rv: number): never {
  throw new Refusal(rv);
}

type Translation = { readonly [Code in ErrorCode]: number };

const TRANSLATION: Translation = {
  FAILED: CKR.FUNCTION_FAILED,
  USAGE: CKR.ARGUMENTS_BAD,
  NOT_PERMITTED: CKR.KEY_FUNCTION_NOT_PERMITTED,
  KEY_NOT_FOUND: CKR.KEY_HANDLE_INVALID,
  FILE_NOT_FOUND: CKR.OBJECT_HANDLE_INVALID,
  KEY_EXISTS: CKR.ATTRIBUTE_VALUE_INVALID,
  LIMIT_REACHED: CKR.FUNCTION_REJECTED,
  TAMPERED: CKR.DEVICE_ERROR,
  NOT_BOUND: CKR.DEVICE_ERROR,
  ROLLED_BACK: CKR.DEVICE_ERROR,
  FROZEN: CKR.FUNCTION_REJECTED,
  DESTROYED: CKR.DEVICE_REMOVED,
  ROOT_UNAVAILABLE: CKR.DEVICE_ERROR,
  VAULT_UNAVAILABLE: CKR.DEVICE_ERROR,
  TIMED_OUT: CKR.FUNCTION_FAILED,
  ROOT_REFUSED: CKR.FUNCTION_FAILED,
  OUTCOME_UNKNOWN: CKR.FUNCTION_FAILED,
  NOT_SUPPORTED: CKR.KEY_FUNCTION_NOT_PERMITTED,
  MALFORMED: CKR.DATA_INVALID,
  STATE_DAMAGED: CKR.DEVICE_ERROR,
  STATE_UNWRITABLE: CKR.DEVICE_MEMORY,
  ABORTED: CKR.FUNCTION_CANCELED,
};

/** What codes mean where objects are made. */
export const MAKING: Partial<Translation> = {
  USAGE: CKR.ATTRIBUTE_VALUE_INVALID,
  NOT_PERMITTED: CKR.TOKEN_WRITE_PROTECTED,
  LIMIT_REACHED: CKR.DEVICE_MEMORY,
  MALFORMED: CKR.ATTRIBUTE_VALUE_INVALID,
  NOT_SUPPORTED: CKR.TEMPLATE_INCONSISTENT,
};

/** What codes mean where something is decrypted. */
export const DECRYPTING: Partial<Translation> = {
  FAILED: CKR.ENCRYPTED_DATA_INVALID,
  USAGE: CKR.ENCRYPTED_DATA_INVALID,
  MALFORMED: CKR.ENCRYPTED_DATA_INVALID,
  TAMPERED: CKR.ENCRYPTED_DATA_INVALID,
};

/** @returns the CK_RV of anything that was thrown; what nobody foresaw is the device's error */
export function rvOf(error: unknown): number {
  if (error instanceof Refusal) return error.rv;
  if (error instanceof ThornkeyError) return TRANSLATION[error.code];
  if (error instanceof Malformed) return CKR.DEVICE_ERROR;
  return CKR.DEVICE_ERROR;
}

/** @returns what to throw instead of an error, where a code means something of its own */
export function translated(error: unknown, meanings: Partial<Translation>): unknown {
  const rv = error instanceof ThornkeyError ? meanings[error.code] : undefined;
  return rv === undefined ? error : new Refusal(rv);
}
