import { type ErrorCode, ThornkeyError } from "../../errors.ts";
import { http } from "../../machine/http.ts";

/** HTTP status of each error (RFC 9110, RFC 4918 for 423, RFC 6585 for 429). */
export const HTTP_STATUS: { readonly [Code in ErrorCode]: number } = {
  FAILED: 500,
  USAGE: 400,
  NOT_PERMITTED: 403,
  KEY_NOT_FOUND: 404,
  FILE_NOT_FOUND: 404,
  KEY_EXISTS: 409,
  LIMIT_REACHED: 429,
  TAMPERED: 423,
  NOT_BOUND: 423,
  ROLLED_BACK: 423,
  FROZEN: 423,
  DESTROYED: 410,
  ROOT_UNAVAILABLE: 503,
  VAULT_UNAVAILABLE: 503,
  TIMED_OUT: 504,
  ROOT_REFUSED: 403,
  OUTCOME_UNKNOWN: 500,
  NOT_SUPPORTED: 501,
  MALFORMED: 400,
  STATE_DAMAGED: 500,
  STATE_UNWRITABLE: 507,
  ABORTED: 499,
};

/** What of Fastify's and Node's own refusals is the caller's doing, by status. */
const OF_STATUS: { readonly [status: number]: ErrorCode } = { 404: "USAGE", 413: "USAGE", 415: "USAGE", 431: "USAGE" };

const statusInstead = new WeakMap<Error, number>();

/** @returns the error, to be told with a status of its own and not with its code's */
export function withStatus(status: number, error: ThornkeyError): ThornkeyError {
  statusInstead.set(error, status);
  return error;
}

export interface Refusal {
  readonly status: number;
  readonly body: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
}

/** @returns how any failure is told over HTTP; what we did not foresee says nothing of itself */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ThornkeyError) {
    const { code, message, hint } = error;
    return {
      status: statusInstead.get(error) ?? HTTP_STATUS[code],
      body: { code, message, ...(hint !== undefined && { hint }) },
    };
  }
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  if (typeof status === "number" && status >= 400 && status < 500) {
    return {
      status,
      body: { code: OF_STATUS[status] ?? "MALFORMED", message: http.STATUS_CODES[status] ?? "refused" },
    };
  }
  return { status: 500, body: { code: "FAILED", message: "the gate failed" } };
}
