/** What a TPM answers when it does not do something (TPM_RC; Part 2, 6.6), in words. */
import { type ErrorCode, ThornkeyError } from "../../errors.ts";

/** Format-zero codes: errors and warnings. */
const PLAIN = new Map<number, string>([
  [0x100, "INITIALIZE: not started, or started already"],
  [0x101, "FAILURE: the TPM failed its self-test"],
  [0x103, "SEQUENCE: improper use of a sequence"],
  [0x120, "DISABLED: the command is disabled"],
  [0x121, "EXCLUSIVE: an exclusive audit session is needed"],
  [0x124, "AUTH_TYPE: this kind of authorisation is not for this"],
  [0x125, "AUTH_MISSING: no authorisation was given"],
  [0x126, "POLICY: a policy command failed"],
  [0x127, "PCR: a PCR changed during the policy"],
  [0x12d, "UPGRADE: the TPM waits for its firmware"],
  [0x12e, "TOO_MANY_CONTEXTS: no more contexts"],
  [0x12f, "AUTH_UNAVAILABLE: this has no authValue to be used"],
  [0x130, "REBOOT: the TPM must be restarted"],
  [0x142, "COMMAND_SIZE: the command's size is not what it says"],
  [0x143, "COMMAND_CODE: the TPM does not have this command"],
  [0x144, "AUTHSIZE: the session area is wrong"],
  [0x145, "AUTH_CONTEXT: a session where none may be"],
  [0x146, "NV_RANGE: past the end of the index"],
  [0x147, "NV_SIZE: this size is not allowed"],
  [0x148, "NV_LOCKED: the index is locked"],
  [0x149, "NV_AUTHORIZATION: not authorised for this index"],
  [0x14a, "NV_UNINITIALIZED: the index was never written"],
  [0x14b, "NV_SPACE: no room for another index"],
  [0x14c, "NV_DEFINED: the index exists already"],
  [0x150, "BAD_CONTEXT: the context is not good"],
  [0x153, "NEEDS_TEST: a function must be tested first"],
  [0x901, "CONTEXT_GAP: the sessions are too far apart"],
  [0x902, "OBJECT_MEMORY: no room for another object"],
  [0x903, "SESSION_MEMORY: no room for another session"],
  [0x904, "MEMORY: out of memory"],
  [0x905, "SESSION_HANDLES: no more sessions"],
  [0x906, "OBJECT_HANDLES: no more objects"],
  [0x907, "LOCALITY: wrong locality"],
  [0x908, "YIELDED: interrupted; try again"],
  [0x909, "CANCELED: the command was cancelled"],
  [0x90a, "TESTING: the self-test is still running"],
  [0x920, "NV_RATE: the TPM limits writing to its memory; try again later"],
  [0x921, "LOCKOUT: too many wrong authorisations; the TPM is in dictionary-attack lockout"],
  [0x922, "RETRY: not started; try again"],
  [0x923, "NV_UNAVAILABLE: the TPM's memory cannot be written now"],
]);

/** Format-one codes, without the place they speak of. */
const PLACED = new Map<number, string>([
  [0x01, "ASYMMETRIC: unsupported algorithm"],
  [0x02, "ATTRIBUTES: inconsistent attributes"],
  [0x03, "HASH: unsupported digest"],
  [0x04, "VALUE: out of range"],
  [0x05, "HIERARCHY: not enabled, or not right here"],
  [0x07, "KEY_SIZE: unsupported size"],
  [0x08, "MGF: unsupported mask function"],
  [0x09, "MODE: unsupported mode"],
  [0x0a, "TYPE: not right for this use"],
  [0x0b, "HANDLE: not right for this use"],
  [0x0c, "KDF: unsupported"],
  [0x0d, "RANGE: out of range"],
  [0x0e, "AUTH_FAIL: wrong authorisation; the dictionary-attack counter went up"],
  [0x0f, "NONCE: invalid"],
  [0x10, "PP: physical presence is needed"],
  [0x12, "SCHEME: unsupported scheme"],
  [0x15, "SIZE: wrong size"],
  [0x16, "SYMMETRIC: unsupported algorithm"],
  [0x17, "TAG: wrong tag"],
  [0x18, "SELECTOR: wrong selector"],
  [0x1a, "INSUFFICIENT: too short"],
  [0x1b, "SIGNATURE: not valid"],
  [0x1c, "KEY: not right for this use"],
  [0x1d, "POLICY_FAIL: the policy is not fulfilled"],
  [0x1f, "INTEGRITY: not of this TPM or not under this parent"],
  [0x20, "TICKET: invalid"],
  [0x21, "RESERVED_BITS: not zero"],
  [0x22, "BAD_AUTH: wrong authorisation"],
  [0x23, "EXPIRED: the policy has expired"],
  [0x24, "POLICY_CC: the policy is for another command"],
  [0x25, "BINDING: public and private part do not belong together"],
  [0x26, "CURVE: unsupported"],
  [0x27, "ECC_POINT: not on the curve"],
]);

export const RC = {
  initialize: 0x100,
  nvUninitialized: 0x14a,
  nvDefined: 0x14c,
  contextGap: 0x901,
  objectMemory: 0x902,
  sessionMemory: 0x903,
  sessionHandles: 0x905,
  yielded: 0x908,
  testing: 0x90a,
  /** A handle of an object that is not loaded: the last digit says which. */
  referenceHandle: 0x910,
  referenceSession: 0x918,
  nvRate: 0x920,
  lockout: 0x921,
  retry: 0x922,
} as const;

/** Format-one codes that callers tell apart, without their place. */
export const FAULT = {
  value: 0x84,
  handle: 0x8b,
  authFail: 0x8e,
  policyFail: 0x9d,
  integrity: 0x9f,
  badAuth: 0xa2,
} as const;

/** The TPM's refusal of one command. */
export class TpmRefusal extends ThornkeyError {
  override readonly name = "TpmRefusal";
  /** TPM_RC as it came. */
  readonly responseCode: number;

  constructor(command: string, responseCode: number) {
    const told = RESULTS.get(responseCode) ?? RESULTS.get(faultOf(responseCode));
    super(
      told?.code ?? "ROOT_REFUSED",
      `the TPM refuses ${command}: ${describe(responseCode)}`,
      told?.hint === undefined ? {} : { hint: told.hint },
    );
    this.responseCode = responseCode;
  }

  /** Without the place it speaks of, for format-one codes; as it is otherwise. */
  get fault(): number {
    return faultOf(this.responseCode);
  }
}

/** What the house calls it, and what to do next. */
const RESULTS = new Map<number, { readonly code: ErrorCode; readonly hint?: string }>([
  [
    RC.lockout,
    {
      code: "ROOT_REFUSED",
      hint: "wait until the TPM forgets a failure, or run 'thornkey tpm lockout reset'; 'thornkey tpm lockout' shows how long",
    },
  ],
  [
    RC.objectMemory,
    { code: "ROOT_UNAVAILABLE", hint: "another program left objects in it: use /dev/tpmrm0, not tpm0" },
  ],
  [
    RC.sessionMemory,
    { code: "ROOT_UNAVAILABLE", hint: "another program left sessions in it: use /dev/tpmrm0, not tpm0" },
  ],
  [RC.testing, { code: "ROOT_UNAVAILABLE" }],
  [RC.retry, { code: "ROOT_UNAVAILABLE" }],
  [RC.yielded, { code: "ROOT_UNAVAILABLE" }],
  [RC.nvRate, { code: "ROOT_UNAVAILABLE", hint: "its memory is written too often: wait some seconds" }],
  [0x101, { code: "ROOT_UNAVAILABLE", hint: "switch the device off and on; if it says so again the TPM is broken" }],
  [RC.initialize, { code: "ROOT_UNAVAILABLE" }],
]);

function faultOf(responseCode: number): number {
  return responseCode & 0x80 ? 0x80 | (responseCode & 0x3f) : responseCode;
}

/** Linux's resource manager marks what it refuses itself, and never asked the TPM for (TSS2_RESMGR_TPM_RC_LAYER). */
const RESOURCE_MANAGER = 0x000b;

function describe(responseCode: number): string {
  if (responseCode >>> 16 === RESOURCE_MANAGER) {
    return `${describe(responseCode & 0xffff)} (the kernel's resource manager says so)`;
  }
  const number = `0x${responseCode.toString(16)}`;
  if ((responseCode & 0x80) === 0) {
    const reference = responseCode & ~0x7;
    if (reference === RC.referenceHandle) return `${number}, an object is not loaded any more`;
    if (reference === RC.referenceSession) return `${number}, a session is not there any more`;
    return `${number}, ${PLAIN.get(responseCode) ?? "a code of its own"}`;
  }
  const place = (responseCode >> 8) & 0xf;
  const where =
    responseCode & 0x40
      ? `parameter ${place}`
      : place & 0x8
        ? `session ${place & 0x7}`
        : place === 0
          ? "a part of it"
          : `handle ${place}`;
  return `${number}, ${where}: ${PLACED.get(responseCode & 0x3f) ?? "a code of its own"}`;
}
