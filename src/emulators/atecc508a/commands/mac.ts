import { hmacSha256, macMessage, sha256, zeros } from "../digests.ts";
import { mayUse, takeUse, type Use } from "../gates.ts";
import { secret } from "../slots.ts";
import { STATUS } from "../status.ts";
import { tempKeyValue, type VolatileState } from "../volatile-state.ts";
import { ANY, bitsOf, type Command, NOTHING, type Unit } from "./command.ts";

/** Mode bits of MAC, HMAC and CheckMac. */
export const SECOND_IS_TEMP_KEY = 0x01;
export const FIRST_IS_TEMP_KEY = 0x02;
const SOURCE_FLAG = 0x04;

const MAC_MODES = bitsOf(0x77);

/** ATECC508A, MAC. */
export const mac: Command = {
  name: "MAC",
  opcode: 0x08,
  forms: [
    { param1: MAC_MODES.filter((mode) => !(mode & SECOND_IS_TEMP_KEY)), param2: ANY, data: [32] },
    { param1: MAC_MODES.filter((mode) => mode & SECOND_IS_TEMP_KEY), param2: ANY, data: NOTHING },
  ],
  spendsTempKey: true,
  run(unit, packet) {
    const blocks = twoBlocks(unit, packet.param1, packet.param2 & 0x0f, packet.data, "MAC");
    if (!blocks) return STATUS.EXECUTION_ERROR;
    return sha256(blocks.first, ...macMessage(unit.memory, packet, blocks.second));
  },
};

/** ATECC508A, HMAC. */
export const hmac: Command = {
  name: "HMAC",
  opcode: 0x11,
  forms: [{ model: "508a", param1: bitsOf(0x74), param2: ANY, data: NOTHING }],
  spendsTempKey: true,
  run(unit, packet) {
    const slot = packet.param2 & 0x0f;
    const tempKey = tempKeyFromSource(unit.state, packet.param1);
    if (!tempKey || !mayUse(unit, slot, "HMAC", true) || !takeUse(unit, slot, "HMAC")) return STATUS.EXECUTION_ERROR;
    return hmacSha256(secret(unit.memory, slot), zeros(32), ...macMessage(unit.memory, packet, tempKey));
  },
};

/**
 * The first two blocks of MAC and CheckMac: key or TempKey (b1), challenge or TempKey (b0).
 *
 * @returns undefined when TempKey is wanted and not there, or the slot's key may not be used
 */
export function twoBlocks(
  unit: Unit,
  mode: number,
  slot: number,
  challenge: Uint8Array,
  use: Use,
): { first: Uint8Array; second: Uint8Array } | undefined {
  const secondIsTempKey = (mode & SECOND_IS_TEMP_KEY) !== 0;
  const firstIsTempKey = (mode & FIRST_IS_TEMP_KEY) !== 0;
  const tempKey = tempKeyFromSource(unit.state, mode);
  if ((firstIsTempKey || secondIsTempKey) && !tempKey) return undefined;
  if (!firstIsTempKey && !(mayUse(unit, slot, use, secondIsTempKey) && takeUse(unit, slot, use))) return undefined;
  return {
    first: firstIsTempKey && tempKey ? tempKey : secret(unit.memory, slot),
    second: secondIsTempKey && tempKey ? tempKey : challenge,
  };
}

/** @returns TempKey when it is valid and its SourceFlag is mode b2 */
export function tempKeyFromSource(state: VolatileState, mode: number): Uint8Array | undefined {
  const wanted = mode & SOURCE_FLAG ? 1 : 0;
  return state.tempKey.sourceFlag === wanted ? tempKeyValue(state) : undefined;
}
