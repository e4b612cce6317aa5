import { type Device, type Model, slotConfigOf, type TempKey } from "./device.ts";
import { limitedUse } from "./limited-use.ts";

/**
 * The form of the rules, and the one interpreter of them. A command is a row: what it accepts at all (else 03), the
 * conditions of state and policy (else 0F), the slot whose limited use it takes, and what it does.
 */
export interface Rules {
  readonly name: string;
  readonly opcode: number;
  readonly models: readonly Model[];
  readonly accepts: (command: Command, device: Device) => boolean;
  readonly conditions: readonly Condition[];
  /** The slot whose key is used, where the gate of LimitedUse applies. */
  readonly limited?: (command: Command, device: Device) => number | undefined;
  /** Whether TempKey is gone after this command, whatever it answers (but 03 and FF). */
  readonly spendsTempKey?: (command: Command, device: Device) => boolean;
  /** Whether a running SHA outlives this command. */
  readonly keepsSha?: boolean;
  /** What the documents leave open, though the parameters are good. */
  readonly isOpen?: (command: Command, device: Device) => boolean;
  /** Does the work on the picture of the chip. TempKey of the device may be spent already: `tempKey` is what it was. */
  readonly perform: (command: Command, device: Device, tempKey: TempKey) => Answer;
}

export interface Command {
  readonly opcode: number;
  readonly mode: number;
  readonly param2: number;
  readonly data: Uint8Array;
}

export interface Condition {
  readonly rule: string;
  readonly holds: (command: Command, device: Device) => boolean;
}

export type Answer =
  | { readonly kind: "status"; readonly code: number }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** Bytes that only the chip can know; `learn` completes the picture, or says what is wrong with them. */
  | { readonly kind: "learn"; readonly length: number; readonly learn: (payload: Uint8Array, seen: Seen) => Complaint }
  | { readonly kind: "silence" }
  /** The documents leave it open: the case ends here. */
  | { readonly kind: "unspecified" };

export type Complaint = string | undefined;

/** The chip's memory after the command. */
export interface Seen {
  readonly slots: readonly Uint8Array[];
}

export interface Verdict {
  readonly answer: Answer;
  /** The rule that decided, by the name of its command. */
  readonly rule: string;
  /** No other condition of the command was broken, so that a chip without this one would have gone on. */
  readonly alone?: boolean;
}

export const OK = 0x00;
export const MISCOMPARE = 0x01;
export const PARSE = 0x03;
export const ECC_FAULT = 0x05;
export const EXECUTION = 0x0f;
export const COMMUNICATION = 0xff;

const ACCEPTED = "accepted parameters";
const GRANTED = "all conditions hold";
const USES_LEFT = "LimitedUse, uses left";

export const BOTH: readonly Model[] = ["508a", "608a"];
export const ONLY_508: readonly Model[] = ["508a"];

export const status = (code: number): Answer => ({ kind: "status", code });
export const bytes = (payload: Uint8Array): Answer => ({ kind: "bytes", bytes: payload });
export const always = (): boolean => true;

/** Applies the rules to the picture of the chip, and changes it. */
export function judge(table: readonly Rules[], device: Device, command: Command): Verdict {
  const rules = table.find((row) => row.opcode === command.opcode && row.models.includes(device.model));
  if (!rules) return { answer: status(PARSE), rule: "opcode of this model" };
  const held = device.tempKey;
  if (!held.isPrivateKey) return judgeRow(rules, device, command);
  // What is no TempKey to this command stays, unless the command does something to TempKey.
  const hidden = { ...held, valid: false };
  device.tempKey = hidden;
  const verdict = judgeRow(rules, device, command);
  if (device.tempKey === hidden) device.tempKey = held;
  return verdict;
}

function judgeRow(rules: Rules, device: Device, command: Command): Verdict {
  if (!rules.accepts(command, device)) return { answer: status(PARSE), rule: ruleName(rules, ACCEPTED) };
  if (rules.isOpen?.(command, device)) return { answer: { kind: "unspecified" }, rule: ruleName(rules, "left open") };
  if (!rules.keepsSha) device.sha = "none";
  const [broken, ...others] = rules.conditions.filter((condition) => !condition.holds(command, device));
  if (broken) return refuse(device, ruleName(rules, broken.rule), others.length === 0);

  const limitedSlot = rules.limited?.(command, device);
  if (limitedSlot !== undefined && slotConfigOf(device, limitedSlot).limitedUse) {
    if (!limitedUse(device, limitedSlot)) return refuse(device, ruleName(rules, USES_LEFT), true);
  }

  const tempKey = device.tempKey;
  if (rules.spendsTempKey?.(command, device)) invalidate(device);
  const answer = rules.perform(command, device, tempKey);
  if (answer.kind === "status" && answer.code === ECC_FAULT) invalidate(device);
  return { answer, rule: ruleName(rules, GRANTED) };
}

const ruleName = ({ name }: Rules, rule: string): string => `${name}: ${rule}`;

/** Names of everything that can decide about a command whose parameters are good. */
export function rulesOf(rules: Rules): string[] {
  const own = rules.conditions.map(({ rule }) => rule);
  return [GRANTED, ...own, ...(rules.limited ? [USES_LEFT] : [])].map((rule) => ruleName(rules, rule));
}

/** The same conditions, but only for commands that `applies` is true for. */
export function when(
  applies: (command: Command, device: Device) => boolean,
  ...conditions: readonly Condition[]
): Condition[] {
  return conditions.map(({ rule, holds }) => ({
    rule,
    holds: (command, device) => !applies(command, device) || holds(command, device),
  }));
}

/** The flags stay as they were, only Valid is gone. */
export function invalidate(device: Device): void {
  device.tempKey = { ...device.tempKey, valid: false, isPrivateKey: false };
}

function refuse(device: Device, rule: string, alone: boolean): Verdict {
  invalidate(device);
  device.sha = "none";
  if (device.messageDigest !== "absent") device.messageDigest = "unknown";
  return { answer: status(EXECUTION), rule, alone };
}
