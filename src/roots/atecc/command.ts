import { STATUS } from "./packet.ts";
import type { CommandName } from "./times.ts";

/** What travels to the thread that owns the device: plain data. */
export interface Step {
  readonly name: CommandName;
  readonly param1: number;
  readonly param2: number;
  readonly data: Uint8Array;
  /** Payload bytes of a good answer. 1: a status. 0: the chip does not answer (Pause). */
  readonly answer: number;
  /** Statuses that are results, not failures. */
  readonly accepts: readonly number[];
  /**
   * Whether the list it stands in may be begun again after an answer was lost, because the second time does what the
   * first would have done. `context`: only if a SHA start stands before it in the same list.
   */
  readonly repeatable: boolean | "context";
}

/** One command of the data sheet with its parameters, and how to read its answer. */
export interface Command<Result> extends Step {
  readonly decode: (payload: Uint8Array) => Result;
}

/** The results of a list of commands, in order. */
export type Results<Commands extends readonly Command<unknown>[]> = {
  -readonly [Index in keyof Commands]: Commands[Index] extends Command<infer Result> ? Result : never;
};

interface Fields {
  readonly param1?: number;
  readonly param2?: number;
  readonly data?: Uint8Array;
  readonly repeatable?: boolean | "context";
}

/** A command whose good answer is `length` bytes. */
export function answering(name: CommandName, length: number, fields: Fields = {}): Command<Uint8Array> {
  return { ...filled(name, fields), answer: length, accepts: [], decode: (payload) => payload };
}

/** A command that answers with a status, and must answer 00. */
export function acknowledged(name: CommandName, fields: Fields = {}): Command<void> {
  return { ...filled(name, fields), answer: 1, accepts: [STATUS.ok], decode: () => undefined };
}

/** A command that compares: 00 is true, 01 is false. */
export function comparing(name: CommandName, fields: Fields = {}): Command<boolean> {
  return {
    ...filled(name, fields),
    answer: 1,
    accepts: [STATUS.ok, STATUS.miscompare],
    decode: (payload) => payload[0] === STATUS.ok,
  };
}

/** The same command, its answer read into something else. */
export function map<From, To>(command: Command<From>, to: (from: From) => To): Command<To> {
  return { ...command, decode: (payload) => to(command.decode(payload)) };
}

function filled(name: CommandName, fields: Fields) {
  return {
    name,
    param1: fields.param1 ?? 0,
    param2: fields.param2 ?? 0,
    data: fields.data ?? new Uint8Array(),
    repeatable: fields.repeatable ?? true,
  };
}
