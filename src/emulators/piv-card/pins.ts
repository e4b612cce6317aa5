import { timingSafeEqual } from "node:crypto";
import type { Command } from "./apdu.ts";
import { type Contents, type Memory, type Reference, TRIES } from "./memory.ts";
import { forgetPin, type Session } from "./session.ts";
import { type Answer, answer, refusal, STATUS } from "./status.ts";

/** VERIFY (SP 800-73-4 Part 2, 3.2.1). */
export function verify(command: Command, memory: Memory, session: Session): Answer {
  const { pin } = memory.contents;
  if (command.p2 !== PIN) return refusal(referenceFault(command.p2));
  if (command.p1 === RESET_STATUS) {
    if (command.data.length > 0) return refusal(STATUS.PARAMETERS);
    forgetPin(session);
    return answer();
  }
  if (command.p1 !== 0) return refusal(STATUS.PARAMETERS);
  if (command.data.length === 0) return session.pinVerified ? answer() : refusal(triesLeft(pin));
  if (!isPin(command.data)) return refusal(STATUS.DATA);
  const fault = compare(memory, pin, command.data);
  session.pinVerified = session.pinFresh = fault === undefined;
  return fault === undefined ? answer() : refusal(fault);
}

/** CHANGE REFERENCE DATA (3.2.2). */
export function change(command: Command, memory: Memory, session: Session): Answer {
  if (command.p1 !== 0) return refusal(STATUS.PARAMETERS);
  const reference = referenceOf(memory.contents, command.p2);
  if (!reference) return refusal(referenceFault(command.p2));
  const [old, fresh] = halves(command.data);
  const fits = command.p2 === PIN ? isPin : isPuk;
  if (!old || !fresh || !fits(old) || !fits(fresh)) return refusal(STATUS.DATA);
  const fault = compare(memory, reference, old);
  if (command.p2 === PIN) session.pinVerified = session.pinFresh = fault === undefined;
  if (fault !== undefined) return refusal(fault);
  replace(memory, reference, fresh);
  return answer();
}

/** RESET RETRY COUNTER (3.2.3): the PUK gives the PIN a new value. */
export function resetRetryCounter(command: Command, memory: Memory, session: Session): Answer {
  if (command.p1 !== 0) return refusal(STATUS.PARAMETERS);
  if (command.p2 !== PIN) return refusal(referenceFault(command.p2));
  const [puk, pin] = halves(command.data);
  if (!puk || !pin || !isPuk(puk) || !isPin(pin)) return refusal(STATUS.DATA);
  const fault = compare(memory, memory.contents.puk, puk);
  if (fault !== undefined) {
    forgetPin(session);
    return refusal(fault);
  }
  replace(memory, memory.contents.pin, pin);
  return answer();
}

/** Key references (SP 800-73-4 Part 1, table 4a). */
const PIN = 0x80;
const PUK = 0x81;
const RESET_STATUS = 0xff;
const SIZE = 8;

/**
 * The try is taken, and written, before the comparison: whoever cuts the power when the answer is bad news has used it.
 *
 * @returns the status to refuse with, or undefined when it is right
 */
function compare(memory: Memory, reference: Reference, given: Uint8Array): number | undefined {
  if (reference.tries === 0) return STATUS.BLOCKED;
  reference.tries--;
  memory.save();
  if (!timingSafeEqual(reference.value, given)) return triesLeft(reference);
  reference.tries = TRIES;
  memory.save();
  return undefined;
}

function replace(memory: Memory, reference: Reference, value: Uint8Array): void {
  reference.value = value.slice();
  reference.tries = TRIES;
  memory.save();
}

/** As 3.2.1 says: 63C0 would be the answer to the last try that failed, 6983 to all after it. */
function triesLeft({ tries }: Reference): number {
  return STATUS.WRONG + tries;
}

function referenceOf(contents: Contents, reference: number): Reference | undefined {
  if (reference === PIN) return contents.pin;
  return reference === PUK ? contents.puk : undefined;
}

/** The global PIN, the pairing code and biometrics have references that exist, but not here. */
function referenceFault(reference: number): number {
  return reference === 0 || (reference & 0x80) !== 0 ? STATUS.REFERENCE : STATUS.PARAMETERS;
}

function halves(data: Uint8Array): [] | [Uint8Array, Uint8Array] {
  return data.length === 2 * SIZE ? [data.subarray(0, SIZE), data.subarray(SIZE)] : [];
}

/** 2.4.3: six to eight digits, then FF. */
function isPin(bytes: Uint8Array): boolean {
  const end = bytes.indexOf(0xff);
  const pin = end < 0 ? bytes : bytes.subarray(0, end);
  const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;
  return (
    bytes.length === SIZE &&
    pin.length >= 6 &&
    pin.every(isDigit) &&
    bytes.subarray(pin.length).every((b) => b === 0xff)
  );
}

/** 2.4.3: eight bytes of any value. */
function isPuk(bytes: Uint8Array): boolean {
  return bytes.length === SIZE;
}
