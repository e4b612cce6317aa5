import { ThornkeyError } from "../../errors.ts";
import type { Step } from "./command.ts";
import { InfoRevision } from "./commands.ts";
import { Interrupted, StateLost } from "./failures.ts";
import { BUS_TIME, type Model, modelOf, PATIENCE, timesOf } from "./times.ts";
import { Wire, type WireOptions } from "./wire.ts";

/** What a list of commands gave: one payload each, and the epoch of the volatile state they left behind. */
export interface RunResult {
  readonly answers: readonly Uint8Array[];
  /** Changes whenever TempKey and the other volatile state may have been lost. */
  readonly epoch: number;
}

/**
 * One chip, synchronous: the thread that owns the device runs it (owner.ts).
 *
 * It stays awake across commands, wakes the chip anew before its watchdog could end a command, waits the time a command
 * takes and then asks with the read itself, one transfer an answer. It repeats what may be repeated: a read whose CRC
 * is wrong, a command that was not acknowledged or that the chip did not understand, and a list of commands whose
 * volatile state was lost on the way. Nothing else: a refusal is a refusal, and a command that must not run twice ends
 * with `OUTCOME_UNKNOWN` when its answer is lost.
 */
export class AteccDevice {
  readonly #wire: Wire;

  constructor(options: WireOptions) {
    this.#wire = new Wire(options);
  }

  /**
   * Runs a list of commands with nothing between them; before the first one, finds out which model it is. All of it is
   * begun again when the volatile state was lost.
   *
   * @param steps the commands
   * @param session when given, the list is part of a conversation that can be begun again as a whole: lost state raises
   *   {@link StateLost}. `epoch` is that of the list before, if there was one.
   * @throws ROOT_REFUSED, ROOT_UNAVAILABLE, OUTCOME_UNKNOWN, NOT_SUPPORTED
   */
  run(steps: readonly Step[], session?: { readonly epoch: number | undefined }): RunResult {
    if (this.#wire.model === undefined) {
      const { answers } = this.#run([InfoRevision()]);
      this.#wire.model = modelOf(answers[0] ?? new Uint8Array());
    }
    return this.#run(steps, session);
  }

  #run(steps: readonly Step[], session?: { readonly epoch: number | undefined }): RunResult {
    this.#wire.limit(longestRun(steps, this.#wire.model));
    for (let attempt = 1; ; attempt++) {
      try {
        return { answers: this.#list(steps, session?.epoch), epoch: this.#wire.epoch };
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
        const begun = steps.slice(0, error.step + (error.mayHaveRun ? 1 : 0));
        if (!canBeginAgain(begun, session !== undefined)) throw outcomeUnknown(begun, error);
        if (session?.epoch !== undefined) throw new StateLost();
        if (attempt === ATTEMPTS || this.#wire.isLate) {
          if (error.refusal) throw error.refusal;
          this.#wire.sleep(); // closes the bus, as the adapter may be gone
          throw unavailable(error);
        }
      }
    }
  }

  /** Ends the volatile state and closes the bus; the next command opens and wakes both. */
  sleep(): void {
    this.#wire.sleep();
  }

  close(): void {
    this.#wire.sleep();
  }

  /** @param epoch of the state the list needs, if it needs any */
  #list(steps: readonly Step[], epoch: number | undefined): Uint8Array[] {
    const wire = this.#wire;
    wire.begin();
    const answers: Uint8Array[] = [];
    for (const [index, step] of steps.entries()) {
      try {
        if (index === 0) wire.ensureAwake(longest(steps, wire.model));
        if (index === 0 && epoch !== undefined && epoch !== wire.epoch) throw new StateLost();
        answers.push(wire.command(step, index));
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "ROOT_UNAVAILABLE") throw error;
        if (!wire.isOpen && index === 0) throw error; // it could not be opened
        const { mayHaveArrived } = wire;
        wire.lose();
        throw new Interrupted(index, mayHaveArrived, error.message);
      }
    }
    return answers;
  }
}

/** How often a list is begun before we give up. */
const ATTEMPTS = 5;
/** Milliseconds on top of everything before a list of commands is given up. */
const GRACE = 500;

/** @returns milliseconds after which a list of commands has ended, one way or the other */
export function longestRun(steps: readonly Step[], model?: Model): number {
  return ATTEMPTS * (longest(steps, model) + steps.length * PATIENCE) + GRACE;
}

/** Milliseconds a list takes at the most when nothing goes wrong. */
function longest(steps: readonly Step[], model: Model | undefined): number {
  let sum = 0;
  for (const { name } of steps) sum += timesOf(name, model).maximum + BUS_TIME;
  return sum;
}

/** Whether all of these may run a second time. A whole conversation begins its SHA context anew. */
function canBeginAgain(steps: readonly Step[], inSession: boolean): boolean {
  return steps.every(
    ({ repeatable }, index) =>
      repeatable === true || (repeatable === "context" && (inSession || steps.slice(0, index).some(startsContext))),
  );
}

function startsContext({ name, param1 }: Step): boolean {
  return name === "SHA" && (param1 === 0 || param1 === 4);
}

function outcomeUnknown(begun: readonly Step[], cause: Interrupted): ThornkeyError {
  const names = begun.filter(({ repeatable }) => repeatable !== true).map(({ name }) => name);
  return new ThornkeyError("OUTCOME_UNKNOWN", `the answer to ${names.join(", ")} was lost: ${cause.message}`, {
    hint: "it may or may not have been carried out; look before you repeat it",
    cause,
  });
}

function unavailable(cause: Interrupted): ThornkeyError {
  return new ThornkeyError("ROOT_UNAVAILABLE", `the chip does not work: ${cause.message}`, {
    hint: "check its supply, the wires and the address ('thornkey chip test' tries them)",
    cause,
  });
}
