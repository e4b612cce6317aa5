/** A TPM looked at without a vault: nothing is made, flushed or taken in it. */
import { ownerOf } from "../owner.ts";
import { threadOwner } from "../owner-thread.ts";
import type { TpmFacts } from "./facts.ts";
import { formatTpmLocation, type TpmLocation } from "./location.ts";
import type { Pcr, TpmSurvey } from "./survey.ts";
import type { VisitorCalls } from "./visitor.ts";

export interface TpmVisit {
  facts(): Promise<TpmFacts>;
  survey(): Promise<TpmSurvey>;
  pcrs(): Promise<readonly Pcr[]>;
  /**
   * @param folder `roots` of the state whose lockout authorisation is used
   * @throws ThornkeyError `ROOT_REFUSED` when it is not sure that it is this TPM's
   */
  resetLockout(folder: string): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds: many short commands. */
const LONGEST = 30_000;
const STUCK = 15_000;

/** The first call connects. A TPM that nobody has started yet is started. */
export function visitTpm(location: TpmLocation): TpmVisit {
  const program = new URL(`./visitor${import.meta.url.slice(-3)}`, import.meta.url);
  const owner = ownerOf<VisitorCalls>(
    `the TPM ${formatTpmLocation(location)}`,
    threadOwner(program, location satisfies TpmLocation),
    STUCK,
  );
  return {
    facts: () => owner.call("facts", [], { longest: LONGEST, repeatable: true }),
    survey: () => owner.call("survey", [], { longest: LONGEST, repeatable: true }),
    pcrs: () => owner.call("pcrs", [], { longest: LONGEST, repeatable: true }),
    resetLockout: (folder) => owner.call("resetLockout", [folder], { longest: LONGEST, repeatable: true }),
    close: () => owner.close(),
  };
}
