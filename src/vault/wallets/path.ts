/** Where a node is in its tree: `m/44'/0'/0'/1/28` (BIP32, 2.4; BIP44 writes hardened steps with an apostrophe). */
import { ThornkeyError } from "../../errors.ts";

/** Added to the index of a hardened child (BIP32, "Extended keys"). */
export const HARDENED = 0x8000_0000;
/** BIP32 serialises the depth in one byte. */
export const DEEPEST = 255;

export interface Step {
  /** 0 to 2^31 - 1. */
  readonly index: number;
  readonly hardened: boolean;
}

/** Longer texts are not looked at: 255 steps of the longest index, with their marks. */
const LONGEST_TEXT = 1 + DEEPEST * "/2147483647'".length;
const STEP = /^(0|[1-9][0-9]{0,9})(['hH]?)$/;

/**
 * @param text `m`, then steps; hardened ones end with `'`, `h` or `H`
 * @throws ThornkeyError `MALFORMED`
 */
export function parsePath(text: string): Step[] {
  if (text.length > LONGEST_TEXT) throw malformed();
  const [root, ...parts] = text.split("/");
  if (root !== "m" || parts.length > DEEPEST) throw malformed();
  return parts.map((part) => {
    const [, digits = "", mark = ""] = STEP.exec(part) ?? [];
    if (digits === "") throw malformed();
    const step = { index: Number(digits), hardened: mark !== "" };
    checkStep(step);
    return step;
  });
}

/** @returns the one form the vault shows: hardened steps with `'` */
export function formatPath(steps: readonly Step[]): string {
  return ["m", ...steps.map(formatStep)].join("/");
}

export function formatStep({ index, hardened }: Step): string {
  return hardened ? `${index}'` : String(index);
}

/** @throws ThornkeyError `MALFORMED` when the index is no integer from 0 to 2^31 - 1 */
export function checkStep({ index }: Step): void {
  if (!Number.isInteger(index) || index < 0 || index >= HARDENED) {
    throw new ThornkeyError("MALFORMED", "the index of a child key is a whole number from 0 to 2147483647");
  }
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not the path of a wallet key", { hint: "write it like m/44'/0'/0'/0/5" });
}
