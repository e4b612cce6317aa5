import { ThornkeyError } from "../../errors.ts";
import { STATUS } from "./packet.ts";
import type { CommandName } from "./times.ts";

/** A list of commands could not go on: the chip's volatile state, or an answer, is lost. Stays inside the driver. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  /** Index of the command it happened at. */
  readonly step: number;
  /** Whether the chip may have carried that command out. */
  readonly mayHaveRun: boolean;

  /** What to say when it happens every time. */
  readonly refusal: ThornkeyError | undefined;

  constructor(step: number, mayHaveRun: boolean, why: string, refusal?: ThornkeyError) {
    super(why);
    this.step = step;
    this.mayHaveRun = mayHaveRun;
    this.refusal = refusal;
  }
}

/** What a conversation of several lists had built up in the chip is gone; the conversation must begin again. */
export class StateLost extends Error {
  override readonly name = "StateLost";

  constructor() {
    super("the chip's volatile state was lost");
  }
}

/** @returns the error for a status that is not a result */
export function refusal(name: CommandName, status: number | undefined): ThornkeyError {
  const meaning = MEANINGS.get(status ?? -1) ?? { why: "an unknown status", hint: undefined };
  const shown = status === undefined ? "nothing" : status.toString(16).padStart(2, "0");
  return new ThornkeyError(
    "ROOT_REFUSED",
    `the chip refused ${name} (status ${shown}: ${meaning.why})`,
    meaning.hint === undefined ? {} : { hint: meaning.hint },
  );
}

const MEANINGS: ReadonlyMap<number, { why: string; hint: string | undefined }> = new Map([
  [STATUS.miscompare, { why: "what was compared differs", hint: undefined }],
  [STATUS.parse, { why: "a parameter this model does not know", hint: undefined }],
  [STATUS.eccFault, { why: "the point is not on the curve, or the computation failed", hint: undefined }],
  [STATUS.selfTest, { why: "its self-test failed", hint: "the chip must be replaced if this stays" }],
  [
    STATUS.rngHealth,
    { why: "its random generator failed its health test", hint: "the chip must be replaced if this stays" },
  ],
  [
    STATUS.execution,
    {
      why: "its configuration, its locks or its state do not allow it",
      hint: "'thornkey chip info' shows what each slot allows and why",
    },
  ],
]);
