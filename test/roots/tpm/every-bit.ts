/** Changes the bits of one command, or of its answer, one after the other, and judges what comes of each. */
import { setImmediate } from "node:timers/promises";
import { expect } from "vitest";
import { ThornkeyError } from "../../../src/errors.ts";
import * as commands from "../../../src/roots/tpm/commands.ts";
import type { Direction, DisturbedTpm } from "./disturbed.ts";

/** An answer that is not right, and was taken. */
export class Wrong extends Error {}

export interface Case {
  readonly name: string;
  /** TPM_CC of the command in which bits are changed. */
  readonly code: number;
  /** Which of those that `run` sends; default: the first. */
  readonly nth?: number;
  /** Before each try; nothing is changed in it. */
  readonly prepare?: () => void | Promise<void>;
  /** @throws Wrong; ThornkeyError when it is refused, which is as good */
  readonly run: () => void;
  /** After each try, and after the one in peace that follows: what the TPM still holds must be known. */
  readonly rest: () => void;
  /** Why a change need not be noticed: what it does to the result is. */
  readonly unprotected?: string;
}

export interface Tally {
  bits: number;
  refused: number;
  repeated: number;
  /** Nobody noticed, and the result was right all the same. */
  harmless: number;
}

/** For these the other side waits: they have a test of their own. */
const SIZE_FIELD = new Set([2, 3, 4, 5]);

const GIVE_HANDLES = new Set(Object.values(commands).flatMap(({ givesHandle, code }) => (givesHandle ? [code] : [])));

/** The handle of an answer is in no proof (Part 1, 18.9): with a wrong one nothing can be done afterwards. */
function isHandle(code: number, direction: Direction, bit: number): boolean {
  return direction === "response" && GIVE_HANDLES.has(code) && bit >= 8 * 10 && bit < 8 * 14;
}

/** @param first bit, and then every `step`th. @throws AssertionError naming the bit */
export async function everyBit(
  disturbed: DisturbedTpm,
  { name, code, nth = 1, prepare, run, rest, unprotected }: Case,
  direction: Direction,
  [first, step]: readonly [number, number],
): Promise<Tally> {
  const inPeace = async () => {
    await prepare?.();
    disturbed.aim({ code, nth, direction });
    run();
    const { length, sent } = disturbed.cease();
    rest();
    return { length, sent };
  };
  const usual = await inPeace();
  if (usual.length === 0) throw new Error(`${name} sends no such command`);
  const tally: Tally = { bits: 0, refused: 0, repeated: 0, harmless: 0 };
  for (let bit = first; bit < usual.length * 8; bit += step) {
    if (SIZE_FIELD.has(bit >> 3)) continue;
    const where = `${name}: bit ${bit} of the ${direction}`;
    await setImmediate(); // what the TPM's program writes must be read by somebody
    await prepare?.();
    disturbed.aim({ code, nth, direction, bit });
    let failure: unknown;
    try {
      run();
    } catch (error) {
      failure = error;
    }
    const { length, sent } = disturbed.cease();
    if (failure !== undefined && !(failure instanceof ThornkeyError)) {
      throw new Error(`${where}: ${failure instanceof Error ? failure.message : failure}`, { cause: failure });
    }
    if (bit >= length * 8) continue; // it came out shorter this time
    tally.bits += 1;
    if (failure !== undefined) tally.refused += 1;
    else if (sent > usual.sent) tally.repeated += 1;
    else if (unprotected !== undefined || isHandle(code, direction, bit)) tally.harmless += 1;
    else expect.fail(`${where} was changed and taken`);
    rest();
    try {
      await inPeace();
    } catch (cause) {
      throw new Error(`${where}: afterwards ${cause}`, { cause });
    }
    const { transient, loadedSessions, savedSessions } = await disturbed.held();
    expect(transient + savedSessions, `${where} left something in the TPM`).toBe(0);
    expect(loadedSessions, `${where} left a session in the TPM`).toBeLessThanOrEqual(1);
  }
  return tally;
}
