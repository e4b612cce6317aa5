import type { Model } from "../chip.ts";
import type { Memory } from "../memory.ts";
import type { KeyPair } from "../p256.ts";
import type { Packet } from "../packet.ts";
import type { VolatileState } from "../volatile-state.ts";

/** What commands work on. */
export interface Unit {
  readonly memory: Memory;
  readonly state: VolatileState;
  readonly random: (length: number) => Uint8Array;
  readonly freshKeyPair: () => KeyPair;
}

export type CommandName =
  | "AES"
  | "CheckMac"
  | "Counter"
  | "DeriveKey"
  | "ECDH"
  | "GenDig"
  | "GenKey"
  | "HMAC"
  | "Info"
  | "KDF"
  | "Lock"
  | "MAC"
  | "Nonce"
  | "Pause"
  | "PrivWrite"
  | "Random"
  | "Read"
  | "SecureBoot"
  | "SelfTest"
  | "SHA"
  | "Sign"
  | "UpdateExtra"
  | "Verify"
  | "Write";

export interface Command {
  readonly name: CommandName;
  readonly opcode: number;
  /** What it accepts; anything that fits none is a parse error, whatever the state of the chip. */
  readonly forms: readonly Form[];
  /** Its end makes TempKey invalid, whatever it answers. */
  readonly spendsTempKey?: true;
  /** Called only with what one of the forms accepts. */
  run(unit: Unit, packet: Packet): Answer;
}

/** A status (one byte), a payload, or no answer at all: the chip goes idle. */
export type Answer = number | Uint8Array | "idle";

/** One shape of a command's parameters. A pair is a range, ends included. */
export interface Form {
  /** Without it the form is of both models. */
  readonly model?: Model;
  readonly param1: Values;
  readonly param2: Values;
  /** Lengths. */
  readonly data: Values;
  /** What goes beyond lists of values; the same rule: no look at the state of the chip. */
  readonly also?: (packet: Packet) => boolean;
}

export type Values = readonly (number | readonly [number, number])[];

export const NOTHING: Values = [0];
export const SLOTS: Values = [[0, 15]];
export const BYTES: Values = [[0, 0xff]];
export const ANY: Values = [[0, 0xffff]];

export function accepts(command: Command, model: Model, packet: Packet): boolean {
  return command.forms.some(
    (form) =>
      (form.model === undefined || form.model === model) &&
      includes(form.param1, packet.param1) &&
      includes(form.param2, packet.param2) &&
      includes(form.data, packet.data.length) &&
      (form.also?.(packet) ?? true),
  );
}

/** @returns every number that has no other bits than those of `mask` */
export function bitsOf(mask: number): number[] {
  return Array.from({ length: mask + 1 }, (_, value) => value).filter((value) => (value & ~mask) === 0);
}

function includes(values: Values, value: number): boolean {
  return values.some((entry) => (typeof entry === "number" ? entry === value : value >= entry[0] && value <= entry[1]));
}
