import { equal, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Clock } from "../../machine/clock.ts";
import type { I2cBus } from "../../machine/i2c-bus.ts";
import type { Step } from "./command.ts";
import { InfoRevision, ReadWord } from "./commands.ts";
import { Estimate } from "./estimate.ts";
import { Interrupted, refusal, StateLost } from "./failures.ts";
import { ANSWER_FRAME, decodeAnswer, encodeRequest, STATUS, WORD_ADDRESS } from "./packet.ts";
import { COMMANDS, type CommandName, type ExecutionTime, executionTime, type Model, TIMING } from "./times.ts";

/** How the device is reached. */
export interface DeviceOptions {
  /** Opens the bus, again after it was lost. Throws `ROOT_UNAVAILABLE`. */
  readonly open: () => I2cBus;
  readonly clock: Clock;
  /** 7 bit */
  readonly address: number;
}

/** What a list of commands gave: one payload each, and the epoch of the volatile state they left behind. */
export interface RunResult {
  readonly answers: readonly Uint8Array[];
  /** Changes whenever TempKey and the other volatile state may have been lost. */
  readonly epoch: number;
}

/**
 * One chip on one bus, synchronous: the thread that owns the device runs it (owner.ts).
 *
 * It stays awake across commands, wakes the chip anew before its watchdog could end a command, waits the time a command
 * takes and then asks with the read itself, one transfer an answer. It repeats what may be repeated: a read whose CRC
 * is wrong, a command that was not acknowledged or that the chip did not understand, and a list of commands whose
 * volatile state was lost on the way. Nothing else: a refusal is a refusal, and a command that must not run twice ends
 * with `OUTCOME_UNKNOWN` when its answer is lost.
 *
 * An answer is believed only when it differs from the one before it. The word address of a write is not covered by the
 * CRC, and one that arrives as "reset read pointer" makes the chip show its last answer again, correct in itself. Where
 * two answers may well be the same, a third command is put between them.
 */
export class AteccDevice {
  readonly #options: DeviceOptions;
  readonly #estimates = new Map<CommandName, Estimate>();
  #bus: I2cBus | undefined;
  #model: Model | undefined;
  /** When the chip was woken; undefined while it sleeps, as far as we know. */
  #awakeSince: number | undefined;
  #epoch = 0;
  /** The answer before, as it came from the bus. */
  #previous: Uint8Array = NOTHING;
  /** Something went wrong since the list was begun, so that a refusal may only mean that TempKey is gone. */
  #disturbed = false;
  /** The command at hand may have reached the chip. */
  #sent = false;
  #deadline = 0;

  constructor(options: DeviceOptions) {
    this.#options = options;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Runs a list of commands with nothing between them; before the first one, finds out which model it is. All of it is begun again when the volatile state was lost.
   *
   * @param steps the commands
   * @param session when given, the list is part of a conversation that can be begun again as a whole: lost state raises
   *   {@link StateLost}. `epoch` is that of the list before, if there was one.
   * @throws ROOT_REFUSED, ROOT_UNAVAILABLE, OUTCOME_UNKNOWN, NOT_SUPPORTED
   */
  run(steps: readonly Step[], session?: { readonly epoch: number | undefined }): RunResult {
    if (this.#model === undefined) {
      const { answers } = this.#run([InfoRevision()]);
      this.#model = modelOf(answers[0] ?? NOTHING);
    }
    return this.#run(steps, session);
  }

  #run(steps: readonly Step[], session?: { readonly epoch: number | undefined }): RunResult {
    this.#deadline = this.#now() + longestRun(steps, this.#model);
    for (let attempt = 1; ; attempt++) {
      try {
        if (session?.epoch !== undefined && session.epoch !== this.#epoch) throw new StateLost();
        return { answers: this.#list(steps), epoch: this.#epoch };
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
        const begun = steps.slice(0, error.step + (error.mayHaveRun ? 1 : 0));
        if (!canBeginAgain(begun, session !== undefined)) throw outcomeUnknown(begun, error);
        if (session?.epoch !== undefined) throw new StateLost();
        if (attempt === ATTEMPTS || this.#late()) throw error.refusal ?? unavailable(error);
      }
    }
  }

  /** Ends the volatile state: nobody finds a TempKey we left behind. */
  sleep(): void {
    if (this.#awakeSince === undefined || this.#bus === undefined) return;
    this.#forgetState();
    this.#awakeSince = undefined;
    try {
      if (!this.#bus.write(this.#options.address, SLEEP)) this.#bus.write(this.#options.address, SLEEP);
    } catch {
      this.#lostBus();
    }
  }

  close(): void {
    this.sleep();
    this.#lostBus();
  }

  #list(steps: readonly Step[]): Uint8Array[] {
    this.#disturbed = false;
    const answers: Uint8Array[] = [];
    for (const [index, step] of steps.entries()) {
      this.#sent = false;
      try {
        if (index === 0) this.#ensureAwake(longest(steps, this.#model));
        answers.push(this.#command(step, index));
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "ROOT_UNAVAILABLE") throw error;
        if (this.#bus === undefined && index === 0) throw error; // it could not be opened
        this.#lostBus();
        throw new Interrupted(index, this.#sent, error.message);
      }
    }
    return answers;
  }

  /** One command and its answer. */
  #command(step: Step, index: number): Uint8Array {
    const { maximum } = this.#times(step.name);
    if (this.#now() + maximum > (this.#awakeSince ?? 0) + TIMING.watchdog) this.#refresh(index);
    if (step.answer === 1 && isStatus(this.#previous, step.accepts)) this.#differentAnswer(index);
    return this.#exchange(step, index);
  }

  /** Any command whose answer is certainly not the one before. */
  #differentAnswer(index: number): void {
    const revisionBefore = this.#previous.length === 4 + ANSWER_FRAME && this.#previous[1] === 0;
    this.#exchange(revisionBefore ? ReadWord("config", 0, 0) : InfoRevision(), index);
  }

  #exchange(step: Step, index: number): Uint8Array {
    const request = encodeRequest({ ...step, opcode: COMMANDS[step.name].opcode });
    for (let attempt = 1; attempt <= SENDS; attempt++) {
      this.#send(request, index);
      if (step.answer === 0) return NOTHING;
      const { raw, payload, readAgain } = this.#receive(step, index);
      if (equal(raw, this.#previous)) {
        // A refusal may well follow a refusal; any other answer twice means that this or the one before went astray.
        if (payload.length > 1) this.#disturbed = true;
        this.#differentAnswer(index);
        continue;
      }
      this.#previous = raw;
      if (payload.length > 1) return payload;
      const status = payload[0] ?? -1;
      if (step.answer === 1 && step.accepts.includes(status)) return payload;
      // The reset of the read pointer may itself have arrived as a command the chip did not understand.
      if (status === STATUS.communication && readAgain) throw this.#interrupted(index, true, "its answer is damaged");
      if (status === STATUS.awake) throw this.#interrupted(index, true, "it was woken by somebody else");
      if (status === STATUS.execution && this.#disturbed) throw this.#refusedAfterFault(index, step);
      if (status === STATUS.watchdog) this.#refresh(index);
      else if (status !== STATUS.communication && status !== STATUS.ok) throw refusal(step.name, status);
      this.#disturbed = true;
    }
    throw this.#interrupted(index, true, `${step.name} was not understood`);
  }

  /** Until the chip has acknowledged the whole command. */
  #send(request: Uint8Array, index: number): void {
    for (let attempt = 1; attempt <= SENDS && !this.#late(); attempt++) {
      this.#sent = true;
      if (this.#openBus().write(this.#options.address, request)) return;
      this.#disturbed = true;
      if (attempt > 1 && this.#rouse()) throw this.#interrupted(index, false, "it had fallen asleep");
    }
    this.#awakeSince = undefined;
    throw this.#interrupted(index, false, "it does not acknowledge commands");
  }

  /** Waits, then asks until the chip acknowledges; a damaged answer is read again. */
  #receive(step: Step, index: number): Answer {
    const { clock, address } = this.#options;
    const { maximum } = this.#times(step.name);
    const length = step.answer + ANSWER_FRAME;
    const estimate = this.#estimateOf(step.name);
    const sent = clock.now();
    if (estimate.milliseconds > 0) clock.sleep(estimate.milliseconds);
    let tooEarly: number | undefined;
    let damaged = 0;
    for (;;) {
      const asked = clock.now() - sent;
      const raw = this.#openBus().read(address, length);
      if (raw === undefined) {
        tooEarly = asked;
        if (asked > maximum + PATIENCE || this.#late()) break;
        clock.sleep(POLL);
        continue;
      }
      if (damaged === 0) {
        if (tooEarly === undefined) estimate.answeredAtOnce();
        else estimate.answeredLater(tooEarly, asked);
      }
      const payload = decodeAnswer(raw);
      if (payload !== undefined && (payload.length === step.answer || payload.length === 1)) {
        const whole = raw.slice(0, payload.length + ANSWER_FRAME);
        return { raw: whole, payload: payload.slice(), readAgain: damaged > 0 };
      }
      this.#disturbed = true;
      damaged += 1;
      if (damaged >= READS) throw this.#interrupted(index, true, `the answer to ${step.name} is damaged`);
      // A write that is not acknowledged leaves the pointer where it is; the next read then shows that as damage.
      this.#openBus().write(address, RESET_POINTER);
    }
    this.#awakeSince = undefined;
    throw this.#interrupted(index, true, `no answer to ${step.name}`);
  }

  /**
   * @param needed milliseconds the list may take. A short list is not begun when the watchdog could end it, so that its
   *   TempKey never depends on the restart; a long one has its restarts inside, before the command they are for.
   */
  #ensureAwake(needed: number): void {
    if (this.#awakeSince === undefined) {
      this.#forgetState();
      this.#wake(0);
    } else if (needed <= TIMING.watchdog / 2 && this.#now() + needed > this.#awakeSince + TIMING.watchdog) {
      this.#refresh(0);
    }
  }

  /** Starts the watchdog anew without losing TempKey. */
  #refresh(index: number): void {
    const bus = this.#openBus();
    this.#disturbed = true; // were TempKey lost now, only a refusal would tell
    if (!bus.write(this.#options.address, IDLE) && !bus.write(this.#options.address, IDLE)) this.#forgetState();
    const epoch = this.#epoch;
    this.#wake(index);
    if (epoch !== this.#epoch && index > 0) throw this.#interrupted(index, false, "it had fallen asleep");
  }

  /** Wakes a chip that sleeps or idles, or finds it awake. @throws ROOT_UNAVAILABLE */
  #wake(index: number): void {
    const { clock, address } = this.#options;
    for (let attempt = 1; attempt <= WAKES && !this.#late(); attempt++) {
      const bus = this.#openBus();
      const from = clock.now();
      bus.write(GENERAL_CALL, WAKE_BYTE); // SDA low for long enough; that nobody acknowledges is normal
      clock.sleep(attempt === 1 ? TIMING.wakeHigh : TIMING.wakeHighSelfTest);
      const raw = bus.read(address, WAKE_ANSWER);
      const payload = raw && decodeAnswer(raw);
      if (payload?.[0] === STATUS.awake && payload.length === 1) {
        this.#awakeSince = from;
        this.#previous = raw ?? NOTHING;
        return;
      }
      if (payload?.[0] === STATUS.selfTest)
        throw new ThornkeyError("ROOT_UNAVAILABLE", "the chip failed its self-test");
      // Awake already, by whomever: idle, so that its watchdog starts with our wake.
      if (raw !== undefined) bus.write(address, IDLE);
    }
    this.#awakeSince = undefined;
    throw new Interrupted(index, false, "it does not wake up");
  }

  /** After a command that nobody acknowledged. @returns true when the chip had been asleep: its state is lost */
  #rouse(): boolean {
    const { clock, address } = this.#options;
    const bus = this.#openBus();
    const from = clock.now();
    bus.write(GENERAL_CALL, WAKE_BYTE);
    clock.sleep(TIMING.wakeHigh);
    const raw = bus.read(address, WAKE_ANSWER);
    const payload = raw && decodeAnswer(raw);
    if (raw === undefined || payload?.length !== 1 || payload[0] !== STATUS.awake) return false;
    this.#awakeSince = from;
    this.#previous = raw;
    this.#forgetState();
    return true;
  }

  #refusedAfterFault(index: number, { name }: Step): Interrupted {
    this.#forgetState();
    return new Interrupted(index, false, "refused after a fault", refusal(name, STATUS.execution));
  }

  #interrupted(step: number, mayHaveRun: boolean, why: string): Interrupted {
    this.#forgetState();
    return new Interrupted(step, mayHaveRun, why);
  }

  #forgetState(): void {
    this.#epoch += 1;
  }

  #openBus(): I2cBus {
    this.#bus ??= this.#options.open();
    return this.#bus;
  }

  #lostBus(): void {
    const bus = this.#bus;
    this.#bus = undefined;
    this.#awakeSince = undefined;
    this.#previous = NOTHING;
    this.#forgetState();
    try {
      bus?.close();
    } catch {
      // it is gone either way
    }
  }

  #estimateOf(name: CommandName): Estimate {
    let estimate = this.#estimates.get(name);
    if (estimate === undefined) {
      const { typical } = this.#times(name);
      estimate = new Estimate(typical < 0.2 ? 0 : typical);
      this.#estimates.set(name, estimate);
    }
    return estimate;
  }

  #times(name: CommandName): ExecutionTime {
    return timesOf(name, this.#model);
  }

  #now(): number {
    return this.#options.clock.now();
  }

  #late(): boolean {
    return this.#now() > this.#deadline;
  }
}

interface Answer {
  /** Count, payload and CRC. */
  readonly raw: Uint8Array;
  readonly payload: Uint8Array;
  /** It was damaged at first. */
  readonly readAgain: boolean;
}

const NOTHING = new Uint8Array();
const GENERAL_CALL = 0x00;
/** One data byte keeps a real general-call listener from taking the wake token as an address (cryptoauthlib issue 232). */
const WAKE_BYTE = Uint8Array.of(0x01);
const WAKE_ANSWER = 4;
const SLEEP = Uint8Array.of(WORD_ADDRESS.sleep);
const IDLE = Uint8Array.of(WORD_ADDRESS.idle);
const RESET_POINTER = Uint8Array.of(WORD_ADDRESS.resetPointer);

/** How often a list is begun, a command sent, an answer read, a chip woken, before we give up. */
const ATTEMPTS = 5;
const SENDS = 4;
const READS = 4;
const WAKES = 4;

/** Milliseconds between two questions whether the chip is ready. */
const POLL = 0.1;
/** Milliseconds a chip may be late: ours is not the only thread. */
const PATIENCE = 50;
/** Milliseconds on top of everything before a list of commands is given up. */
const GRACE = 500;
/** Milliseconds the longest packet and its answer take on a 100 kHz bus, rounded up. */
const BUS_TIME = 16;

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

/** While the model is not known yet, the longer of the two. */
function timesOf(name: CommandName, model: Model | undefined): ExecutionTime {
  const times = executionTime(name, model ?? "608") ?? executionTime(name, "508a");
  if (times === undefined || (model && executionTime(name, model) === undefined)) {
    throw new ThornkeyError("NOT_SUPPORTED", `an ATECC${model} has no command ${name}`);
  }
  return times;
}

/** @throws ThornkeyError `NOT_SUPPORTED` */
export function modelOf(revision: Uint8Array): Model {
  switch (revision[2]) {
    case 0x50:
      return "508a";
    case 0x60:
      return "608";
    default:
      throw new ThornkeyError(
        "NOT_SUPPORTED",
        `this chip's revision ${toHex(revision)} is not one of an ATECC508A or 608`,
      );
  }
}

function isStatus(raw: Uint8Array, statuses: readonly number[]): boolean {
  return raw.length === 1 + ANSWER_FRAME && statuses.includes(raw[1] ?? -1);
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
