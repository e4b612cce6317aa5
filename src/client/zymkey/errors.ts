/** The errors of `zymkey.exceptions`. Everything else that fails is a `ThornkeyError` as it is, with its code. */
import { ThornkeyError } from "../../errors.ts";

/** A signature does not fit, or a locked object is not as it was made. Code `MALFORMED`. */
export class VerificationError extends ThornkeyError {
  override readonly name = "VerificationError";

  constructor(sentence: string, cause?: unknown) {
    super("MALFORMED", sentence, { cause });
  }
}

/** What was waited for did not happen in time. Code `TIMED_OUT`. */
export class ZymkeyTimeoutError extends ThornkeyError {
  override readonly name = "ZymkeyTimeoutError";

  constructor(sentence: string) {
    super("TIMED_OUT", sentence);
  }
}

/** There is no unit to talk to: the connection could not be made. The code of its cause, mostly `VAULT_UNAVAILABLE`. */
export class ZymkeyLibraryError extends ThornkeyError {
  override readonly name = "ZymkeyLibraryError";

  constructor(cause: unknown) {
    const known = cause instanceof ThornkeyError ? cause : undefined;
    super(known?.code ?? "VAULT_UNAVAILABLE", known?.message ?? "the vault cannot be reached", {
      cause,
      ...(known?.hint !== undefined && { hint: known.hint }),
    });
  }
}
