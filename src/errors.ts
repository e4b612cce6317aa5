/**
 * What can go wrong, for callers that want to tell failures apart. Codes are stable; sentences are not.
 * The exit status is what the command line ends with (interfaces: exit status).
 */
export const ERROR_CODES = {
  FAILED: { exit: 1 },
  USAGE: { exit: 2 },
  NOT_PERMITTED: { exit: 3 },
  KEY_NOT_FOUND: { exit: 4 },
  FILE_NOT_FOUND: { exit: 4 },
  KEY_EXISTS: { exit: 1 },
  /** A caller's share of keys or of waiting requests is used up. */
  LIMIT_REACHED: { exit: 1 },
  TAMPERED: { exit: 5 },
  NOT_BOUND: { exit: 5 },
  /** An old copy of the state was put back. */
  ROLLED_BACK: { exit: 5 },
  /** Nothing is given out until an owner thaws the vault. */
  FROZEN: { exit: 5 },
  /** The vault was destroyed, or its root was cleared, for ever. */
  DESTROYED: { exit: 5 },
  ROOT_UNAVAILABLE: { exit: 6 },
  VAULT_UNAVAILABLE: { exit: 6 },
  /** Not done before its deadline; it will not be done later. */
  TIMED_OUT: { exit: 6 },
  /** The root answered that its configuration or state does not allow this. */
  ROOT_REFUSED: { exit: 3 },
  /** A request that must not be repeated was sent, and its answer was lost. */
  OUTCOME_UNKNOWN: { exit: 1 },
  /** The root cannot do this at all. */
  NOT_SUPPORTED: { exit: 1 },
  /** A file, a key or a message is not what it should be. */
  MALFORMED: { exit: 1 },
  /** The state on the disk is damaged. */
  STATE_DAMAGED: { exit: 1 },
  /** The state cannot be written: the disk is full, or read-only. */
  STATE_UNWRITABLE: { exit: 1 },
  ABORTED: { exit: 1 },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** The one error of the house: a stable code, a sentence for a person, and where there is one, what to do next. */
export class ThornkeyError extends Error {
  override readonly name: string = "ThornkeyError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, sentence: string, options: { hint?: string; cause?: unknown } = {}) {
    super(sentence, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
