import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Clock } from "../../machine/clock.ts";
import type { I2cBus } from "../../machine/i2c-bus.ts";
import type { Step } from "./command.ts";
import { InfoRevision, ReadWord } from "./commands.ts";
import { Estimate } from "./estimate.ts";
import { Interrupted, refusal } from "./failures.ts";
import { ANSWER_FRAME, decodeAnswer, encodeRequest, STATUS, WORD_ADDRESS } from "./packet.ts";
import { COMMANDS, type CommandName, type Model, PATIENCE, TIMING, timesOf } from "./times.ts";

/** How the chip is reached. */
export interface WireOptions {
  /** Opens the bus, again after it was lost. Throws `ROOT_UNAVAILABLE`. */
  readonly open: () => I2cBus;
  readonly clock: Clock;
  /** 7 bit */
  readonly address: number;
}

/**
 * One command and its answer, over a bus that may go wrong, to a chip that may sleep.
 *
 * An answer is believed only when it differs from the one before it. The word address of a write is not covered by the
 * CRC, and one that arrives as "reset read pointer" makes the chip show its last answer again, correct in itself. Where
 * two answers may well be the same, a third command is put between them.
 */
export class Wire {
  /** Until the chip has said which it is, its times are the longest of the family. */
  model: Model | undefined;
  readonly #options: WireOptions;
  readonly #estimates = new Map<CommandName, Estimate>();
  #bus: I2cBus | undefined;
  /** When the chip was woken; undefined while it sleeps, as far as we know. */
  #awakeSince: number | undefined;
  #epoch = 0;
  /** The answer before, as it came from the bus. */
  #previous: Uint8Array = NOTHING;
  /** Something went wrong since the list was begun, so that a refusal may only mean that TempKey is gone. */
  #disturbed = false;
  #mayHaveArrived = false;
  #deadline = 0;
  /** When it was last asked whether it is late. */
  #looked = 0;
  /** Milliseconds between two looks that no transaction explains. */
  #standstill = Number.POSITIVE_INFINITY;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  /** Changes whenever TempKey and the other volatile state may have been lost. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Whether the command at hand may have reached the chip. */
  get mayHaveArrived(): boolean {
    return this.#mayHaveArrived;
  }

  get isOpen(): boolean {
    return this.#bus !== undefined;
  }

  /**
   * @param budget milliseconds from now after which nothing is tried any more. A thread that was not let run for most of
   *   them has tried nothing yet, so it gets that time back, once.
   */
  limit(budget: number): void {
    this.#looked = this.#now();
    this.#deadline = this.#looked + budget;
    this.#standstill = budget / 2;
  }

  get isLate(): boolean {
    const now = this.#now();
    const stood = now - this.#looked;
    this.#looked = now;
    if (stood > this.#standstill) {
      this.#deadline += stood;
      this.#standstill = Number.POSITIVE_INFINITY;
    }
    return now > this.#deadline;
  }

  /** A new list of commands. */
  begin(): void {
    this.#disturbed = false;
    this.#mayHaveArrived = false;
  }

  /**
   * @param needed milliseconds the list may take. A short list is not begun when the watchdog could end it, so that its
   *   TempKey never depends on the restart; a long one has its restarts inside, before the command they are for.
   */
  ensureAwake(needed: number): void {
    if (this.#awakeSince === undefined) {
      this.#forgetState();
      this.#wake(0);
    } else if (needed <= TIMING.watchdog / 2 && this.#now() + needed > this.#awakeSince + TIMING.watchdog) {
      this.#refresh(0);
    }
  }

  /**
   * Sends one command and waits for its answer.
   *
   * @param index of the command in its list
   * @returns the payload
   * @throws Interrupted when the list cannot go on; ThornkeyError `ROOT_REFUSED`, `ROOT_UNAVAILABLE`
   */
  command(step: Step, index: number): Uint8Array {
    this.#mayHaveArrived = false;
    const { maximum } = timesOf(step.name, this.model);
    if (this.#now() + maximum > (this.#awakeSince ?? 0) + TIMING.watchdog) this.#refresh(index);
    if (this.#couldBeTakenFor(step)) this.#differentAnswer(index);
    return this.#exchange(step, index);
  }

  /**
   * Ends the volatile state, so that nobody finds a TempKey we left behind, and closes the bus: as long as it is open the
   * kernel cannot take away a USB adapter that was unplugged, and its hub takes in nothing new, not even the same again.
   */
  sleep(): void {
    const { address } = this.#options;
    try {
      if (this.#awakeSince !== undefined && !this.#bus?.write(address, SLEEP)) this.#bus?.write(address, SLEEP);
    } catch {
      // the bus is gone
    }
    this.lose();
  }

  /** Closes the bus, or what is left of it. The next command opens it again. */
  lose(): void {
    const bus = this.#bus;
    this.#bus = undefined;
    this.#awakeSince = undefined;
    this.#previous.fill(0); // it may have been a secret
    this.#previous = NOTHING;
    this.#forgetState();
    try {
      bus?.close();
    } catch {
      // it is gone either way
    }
  }

  /**
   * Whether the answer before, shown again, would pass for an answer to this command and could not be told by sending
   * it a second time: a status, or anything of a command that must run once.
   */
  #couldBeTakenFor({ answer, accepts, repeatable }: Step): boolean {
    if (answer === 1) return this.#previous.length === 1 + ANSWER_FRAME && accepts.includes(this.#previous[1] ?? -1);
    return repeatable !== true && this.#previous.length === answer + ANSWER_FRAME;
  }

  /** Any command whose answer is certainly not the one before. */
  #differentAnswer(index: number): void {
    const revisionBefore = this.#previous.length === 4 + ANSWER_FRAME && this.#previous[1] === 0;
    this.#exchange(revisionBefore ? ReadWord("config", 0, 0) : InfoRevision(), index);
  }

  #exchange(step: Step, index: number): Uint8Array {
    const request = encodeRequest({ ...step, opcode: COMMANDS[step.name].opcode });
    try {
      return this.#exchangePacket(request, step, index);
    } finally {
      request.fill(0); // a key may have been in it
    }
  }

  #exchangePacket(request: Uint8Array, step: Step, index: number): Uint8Array {
    for (let attempt = 1; attempt <= SENDS; attempt++) {
      this.#send(request, step, index);
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

  /**
   * Until the chip has acknowledged the whole command. An acknowledgement may also be lost after everything arrived; then
   * a command that must run once is not sent again: its answer, or none, will tell.
   */
  #send(request: Uint8Array, { repeatable }: Step, index: number): void {
    for (let attempt = 1; attempt <= SENDS && !this.isLate; attempt++) {
      this.#mayHaveArrived = true;
      if (this.#openBus().write(this.#options.address, request)) return;
      this.#disturbed = true;
      if (repeatable !== true) return;
      if (attempt > 1 && !this.#wasAwake()) {
        this.#awakeSince = undefined;
        throw this.#interrupted(index, false, "it had fallen asleep");
      }
    }
    this.#awakeSince = undefined;
    throw this.#interrupted(index, false, "it does not acknowledge commands");
  }

  /** Waits, then asks until the chip acknowledges; a damaged answer is read again. */
  #receive(step: Step, index: number): Answer {
    const { clock, address } = this.#options;
    const { maximum } = timesOf(step.name, this.model);
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
        if (asked > maximum + PATIENCE || this.isLate) break;
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
    for (let attempt = 1; attempt <= WAKES && !this.isLate; attempt++) {
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

  /**
   * After a command that nobody acknowledged: wakes the chip if it sleeps. An awake chip has nothing more to show of an
   * answer that was read to its end; whatever else comes, or nothing, means that its state is lost or may be.
   *
   * @returns true when the chip was awake all the time
   */
  #wasAwake(): boolean {
    const { clock, address } = this.#options;
    const bus = this.#openBus();
    bus.write(GENERAL_CALL, WAKE_BYTE);
    clock.sleep(TIMING.wakeHigh);
    const raw = bus.read(address, WAKE_ANSWER);
    return raw?.length === WAKE_ANSWER && raw.every((byte) => byte === PAST_THE_END);
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

  #estimateOf(name: CommandName): Estimate {
    let estimate = this.#estimates.get(name);
    if (estimate === undefined) {
      const { typical } = timesOf(name, this.model);
      estimate = new Estimate(typical < 0.2 ? 0 : typical);
      this.#estimates.set(name, estimate);
    }
    return estimate;
  }

  #now(): number {
    return this.#options.clock.now();
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
/** What a read past the end of the answer gives. */
const PAST_THE_END = 0xff;
const SLEEP = Uint8Array.of(WORD_ADDRESS.sleep);
const IDLE = Uint8Array.of(WORD_ADDRESS.idle);
const RESET_POINTER = Uint8Array.of(WORD_ADDRESS.resetPointer);

/** How often a command is sent, an answer read, a chip woken, before the list is given up. */
const SENDS = 4;
const READS = 4;
const WAKES = 4;

/** Milliseconds between two questions whether the chip is ready. */
const POLL = 0.1;
