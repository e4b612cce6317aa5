import { CONFIG, type SlotPolicy, slotPolicy, stage } from "./config.ts";
import { COUNTER_MAX, incrementCounter, readCounter } from "./counters.ts";
import { type Memory, writeConfigByte } from "./memory.ts";
import { slotBytes } from "./slots.ts";
import type { VolatileState } from "./volatile-state.ts";

type Gate = "dataLocked" | "noPrivateSlot" | "noMac" | "reqRandom" | "reqAuth" | "limitedUse";

/** Which gates stand before which use of a slot's key. */
const GATES = {
  MAC: ["dataLocked", "noPrivateSlot", "noMac", "reqRandom", "reqAuth", "limitedUse"],
  HMAC: ["dataLocked", "noPrivateSlot", "noMac", "reqRandom", "reqAuth", "limitedUse"],
  CheckMac: ["dataLocked", "noPrivateSlot", "reqRandom", "reqAuth", "limitedUse"],
  GenDig: ["noPrivateSlot", "reqRandom", "reqAuth", "limitedUse"],
  DeriveKey: ["dataLocked", "noPrivateSlot", "reqRandom", "reqAuth", "limitedUse"],
  GenKey: ["reqAuth"],
  GenKeyDigest: ["reqRandom", "reqAuth"],
  Sign: ["dataLocked", "reqRandom", "reqAuth", "limitedUse"],
  Verify: ["dataLocked"],
  ECDH: ["dataLocked", "reqAuth", "limitedUse"],
  ShaPublic: ["dataLocked"],
  ShaHmac: ["dataLocked", "noPrivateSlot", "noMac", "reqAuth", "limitedUse"],
  AES: ["dataLocked", "noPrivateSlot", "reqAuth", "limitedUse"],
  KDF: ["dataLocked", "noPrivateSlot", "reqAuth", "limitedUse"],
  KDFWithMac: ["dataLocked", "noPrivateSlot", "noMac", "reqAuth", "limitedUse"],
} as const satisfies Record<string, readonly Gate[]>;

export type Use = keyof typeof GATES;

interface Situation {
  readonly memory: Memory;
  readonly state: VolatileState;
}

/**
 * Whether every gate but LimitedUse is open.
 *
 * @param tempKeyInMessage whether what is computed with the key depends on TempKey (for ReqRandom)
 */
export function mayUse(unit: Situation, slot: number, use: Use, tempKeyInMessage: boolean): boolean {
  const policy = slotPolicy(unit.memory, slot);
  return GATES[use].every((gate) => gate === "limitedUse" || OPEN[gate](unit, policy, tempKeyInMessage));
}

const OPEN: Record<
  Exclude<Gate, "limitedUse">,
  (unit: Situation, policy: SlotPolicy, tempKeyInMessage: boolean) => boolean
> = {
  dataLocked: ({ memory }) => stage(memory) === "locked",
  noPrivateSlot: (_, policy) => !policy.private,
  noMac: (_, policy) => !policy.noMac,
  reqRandom: ({ state: { tempKey } }, policy, tempKeyInMessage) =>
    !policy.reqRandom || (tempKeyInMessage && tempKey.valid && tempKey.sourceFlag === 0),
  reqAuth: ({ state }, policy) => !policy.reqAuth || state.authKeyId === policy.authKey,
};

/**
 * Takes one use from a LimitedUse slot; to be called when all else is granted.
 *
 * @returns false when none is left; nothing is taken then
 */
export function takeUse({ memory }: Situation, slot: number, use: Use): boolean {
  const gates: readonly Gate[] = GATES[use];
  if (!gates.includes("limitedUse") || !slotPolicy(memory, slot).limitedUse) return true;
  if (memory.model === "508a") return slot !== 15 || takeLastKeyUse(memory);
  return readCounter(memory, 0) < countMatch(memory) && incrementCounter(memory, 0) !== undefined;
}

/** 508: slot 15 has 128 uses, one per bit of LastKeyUse; they go from byte 68 on, most significant bit first. */
export function takeLastKeyUse(memory: Memory): boolean {
  for (let offset = CONFIG.LAST_KEY_USE; offset < CONFIG.LAST_KEY_USE + 16; offset++) {
    const byte = memory.config[offset] ?? 0;
    if (byte === 0) continue;
    writeConfigByte(memory, offset, byte & ~(0x80 >> (Math.clz32(byte) - 24)));
    return true;
  }
  return false;
}

/**
 * 608: the value of Counter0 at which the uses end. With CountMatch enabled it is in the CountMatch slot, 4 bytes (LE),
 * repeated, a multiple of 32; anything else there allows no use.
 */
function countMatch(memory: Memory): number {
  const setting = memory.config[CONFIG.COUNT_MATCH] ?? 0;
  if ((setting & 1) === 0) return COUNTER_MAX;
  const bytes = slotBytes(memory, setting >> 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const limit = view.getUint32(0, true);
  return limit === view.getUint32(4, true) && limit % 32 === 0 ? limit : 0;
}
