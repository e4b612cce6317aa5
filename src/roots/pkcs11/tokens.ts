/** Slots and tokens of a module, as it describes them (CK_TOKEN_INFO). In the process that has loaded it. */
import { CKF_TOKEN } from "./constants.ts";
import type { Pkcs11Location } from "./location.ts";
import type { Ulong } from "./memory.ts";
import type { Module } from "./module.ts";
import { ReturnValue } from "./return-values.ts";

/** A token in its slot. */
export interface TokenFacts {
  readonly slotId: Ulong;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  /** Of CK_TOKEN_INFO. */
  readonly flags: number;
  readonly firmware: string;
}

/** Slots that are looked at. */
const MOST_SLOTS = 256;
/** Bytes of the texts at the head of CK_TOKEN_INFO: label, manufacturerID, model, serialNumber. */
const TEXTS = [32, 32, 16, 16] as const;
/** CK_ULONGs after them: flags, and ten numbers of sessions, of PINs and of memory. */
const NUMBERS = 11;

/** @returns the tokens that are there; one that cannot be read is left out */
export function tokensOf(module: Module): TokenFacts[] {
  const { memory } = module;
  try {
    const count = memory.words(MOST_SLOTS);
    const list = memory.room(MOST_SLOTS * memory.word);
    module.call("C_GetSlotList", 1, list, count);
    const slots = Array.from({ length: Math.min(Number(memory.ulong(count)), MOST_SLOTS) }, (_, index) =>
      memory.ulong(list + index * memory.word),
    );
    return slots.flatMap((slot) => {
      try {
        return [factsOf(module, slot)];
      } catch (error) {
        if (error instanceof ReturnValue) return [];
        throw error;
      }
    });
  } finally {
    memory.clear();
  }
}

/** @throws ReturnValue */
export function factsOf(module: Module, slotId: Ulong): TokenFacts {
  const { memory } = module;
  const info = memory.room(512);
  module.call("C_GetTokenInfo", slotId, info);
  let at = info;
  const [label = "", manufacturer = "", model = "", serial = ""] = TEXTS.map((length) => {
    const text = textOf(memory.read(at, length));
    at += length;
    return text;
  });
  const [major = 0, minor = 0] = memory.read(at + NUMBERS * memory.word + 2, 2);
  return { slotId, label, manufacturer, model, serial, flags: Number(memory.ulong(at)), firmware: `${major}.${minor}` };
}

/** Padded with blanks; some modules end it with a zero. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder()
    .decode(end < 0 ? bytes : bytes.subarray(0, end))
    .replaceAll(/[\p{Cc}\p{Cf}]/gu, "?")
    .trim();
}

/** A location that only this very token fits. Its slot may become another when it is plugged in again. */
export function settledOn(location: Pkcs11Location, facts: TokenFacts): Pkcs11Location {
  const { label: token, manufacturer, model, serial } = facts;
  return { ...location, token, manufacturer, model, serial };
}

/** Whether a token is the one, or one of those, a location speaks of. */
export function fits(location: Pkcs11Location, facts: TokenFacts): boolean {
  if ((facts.flags & CKF_TOKEN.INITIALIZED) === 0) return false;
  const { token = facts.label, manufacturer = facts.manufacturer, model = facts.model } = location;
  const { serial = facts.serial, slotId = facts.slotId } = location;
  return (
    token === facts.label &&
    manufacturer === facts.manufacturer &&
    model === facts.model &&
    serial === facts.serial &&
    slotId === facts.slotId
  );
}
