import { randomBytes } from "node:crypto";
import { type Answer, accepts, type Command, type Unit } from "./commands/command.ts";
import { COMMANDS } from "./commands/table.ts";
import { i2cAddress } from "./config.ts";
import type { Memory } from "./memory.ts";
import { freshKeyPair, keyPairFrom } from "./p256.ts";
import { type Packet, parsePacket, response } from "./packet.ts";
import { STATUS } from "./status.ts";
import { executionTime, type Timing, WAKE_DELAY_MS, watchdogTime } from "./timing.ts";
import { freshState } from "./volatile-state.ts";

export type Model = "508a" | "608a";
export type { Timing } from "./timing.ts";

export interface Clock {
  /** Milliseconds, monotonic, with fractions. */
  now(): number;
}

export interface ChipOptions {
  model: Model;
  memory: Memory;
  /** Without it commands take no time. */
  timing?: Timing;
  clock?: Clock;
  /** In the place of the operating system's randomness, for runs that can be repeated. */
  random?: (length: number) => Uint8Array;
}

/** The chip as its bus sees it. Whatever bytes come, nothing throws. */
export interface Chip {
  /**
   * One I2C write transaction, at its end.
   *
   * @param address 7 bit; 0 is the general call, which wakes the chip
   * @returns false when it was not acknowledged
   */
  write(address: number, bytes: Uint8Array): boolean;
  /** One I2C read transaction. A length of 0 only asks for the acknowledge. */
  read(address: number, length: number): Uint8Array | undefined;
  /** All volatile state is lost; asleep. */
  powerCut(): void;
}

/** First byte of a write transaction. */
const WORD_ADDRESS = { RESET: 0x00, SLEEP: 0x01, IDLE: 0x02, COMMAND: 0x03 } as const;
const GENERAL_CALL = 0;
const PAST_THE_END = 0xff;

/** @throws RangeError when the memory is that of another model */
export function createChip(options: ChipOptions): Chip {
  const { memory, model, timing = "none", clock = performance } = options;
  if (memory.model !== model) throw new RangeError(`the memory is that of a ${memory.model}, not of a ${model}`);
  const { random } = options;
  const unit = {
    memory,
    state: freshState(),
    random: random ?? ((length: number) => new Uint8Array(randomBytes(length))),
    freshKeyPair: random ? () => keyPairFrom(random) : freshKeyPair,
  };

  let power: "asleep" | "idle" | "awake" = "asleep";
  let address = 0;
  let wokenAt = 0;
  let busyUntil = 0;
  let output: Uint8Array = new Uint8Array();
  let position = 0;

  return {
    write(to, bytes) {
      watch();
      if (to === GENERAL_CALL) {
        if (power !== "awake") wake();
        return false;
      }
      if (!acknowledges(to)) return false;
      switch (bytes[0]) {
        case WORD_ADDRESS.RESET:
          position = 0;
          break;
        case WORD_ADDRESS.SLEEP:
          sleep();
          break;
        case WORD_ADDRESS.IDLE:
          power = "idle";
          break;
        case WORD_ADDRESS.COMMAND:
          take(bytes.subarray(1));
          break;
      }
      return true;
    },

    read(from, length) {
      watch();
      if (!acknowledges(from)) return undefined;
      const bytes = new Uint8Array(length).fill(PAST_THE_END);
      bytes.set(output.subarray(position, position + length));
      position = Math.min(position + length, output.length);
      return bytes;
    },

    powerCut: sleep,
  };

  function acknowledges(to: number): boolean {
    return power === "awake" && to === address && (timing === "none" || clock.now() >= busyUntil);
  }

  function wake(): void {
    power = "awake";
    address = i2cAddress(memory);
    if (timing !== "none") {
      wokenAt = clock.now();
      busyUntil = wokenAt + WAKE_DELAY_MS;
    }
    put(STATUS.AWAKE);
  }

  function sleep(): void {
    power = "asleep";
    unit.state = freshState();
  }

  /** The watchdog, which nobody notices before the next transaction. */
  function watch(): void {
    if (power === "awake" && timing !== "none" && clock.now() >= wokenAt + watchdogTime(memory, timing)) sleep();
  }

  function put(payload: Uint8Array | number): void {
    output = response(payload);
    position = 0;
  }

  function take(bytes: Uint8Array): void {
    const answer = answerTo(bytes);
    memory.commit?.();
    if (answer === "idle") power = "idle";
    else put(answer);
  }

  function answerTo(bytes: Uint8Array): Answer {
    const packet = parsePacket(bytes);
    if (!packet) return STATUS.COMMUNICATION_ERROR;
    const command = COMMANDS.get(packet.opcode);
    if (!command || !accepts(command, model, packet)) return STATUS.PARSE_ERROR;
    if (timing !== "none") {
      const end = clock.now() + executionTime(memory, timing, command.name);
      if (end >= wokenAt + watchdogTime(memory, timing)) return STATUS.WATCHDOG;
      busyUntil = end;
    }
    return execute(unit, command, packet);
  }
}

/** Runs one accepted command, and applies what all of them do to the volatile state. */
function execute(unit: Unit, command: Command, packet: Packet): Answer {
  const { state } = unit;
  // SHA goes on from one SHA command to the next; only Info may come between.
  if (command.name !== "SHA" && command.name !== "Info") state.sha = undefined;
  const answer = command.run(unit, packet);
  if (command.spendsTempKey || answer === STATUS.EXECUTION_ERROR || answer === STATUS.ECC_FAULT) {
    state.tempKey.valid = false;
  }
  return answer;
}
