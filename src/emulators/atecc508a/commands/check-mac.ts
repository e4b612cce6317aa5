import { equal } from "../../../bytes/bytes.ts";
import { slotPolicy } from "../config.ts";
import { checkMacDigest } from "../digests.ts";
import { secret } from "../slots.ts";
import { STATUS } from "../status.ts";
import { loadTempKey } from "../volatile-state.ts";
import { bitsOf, type Command, SLOTS, type Unit } from "./command.ts";
import { FIRST_IS_TEMP_KEY, SECOND_IS_TEMP_KEY, twoBlocks } from "./mac.ts";

/** ATECC508A, CheckMac. Data: ClientChal(32) ‖ ClientResp(32) ‖ OtherData(13). */
export const checkMac: Command = {
  name: "CheckMac",
  opcode: 0x28,
  forms: [{ param1: bitsOf(0x27), param2: SLOTS, data: [77] }],
  run(unit, { param1: mode, param2: slot, data }) {
    const { memory, state } = unit;
    const blocks = twoBlocks(unit, mode, slot, data.subarray(0, 32), "CheckMac");
    if (!blocks) return STATUS.EXECUTION_ERROR;
    const digest = checkMacDigest(memory, mode, blocks.first, blocks.second, data.subarray(64));
    state.tempKey.valid = false;
    if (!equal(digest, data.subarray(32, 64))) {
      state.authKeyId = undefined;
      return STATUS.MISCOMPARE;
    }
    const showsKnowledge = (mode & (SECOND_IS_TEMP_KEY | FIRST_IS_TEMP_KEY)) === SECOND_IS_TEMP_KEY;
    if (showsKnowledge && state.tempKey.sourceFlag === 0) state.authKeyId = slot;
    if (copies(unit, mode, slot)) loadTempKey(state, secret(memory, slot + 1), 1);
    return STATUS.OK;
  },
};

/** Mode 1 or 5 copies the next slot's secret into TempKey when that slot says so with ReadKey 0. */
function copies({ memory }: Unit, mode: number, slot: number): boolean {
  if ((mode !== 1 && mode !== 5) || slot % 2 !== 0) return false;
  const target = slotPolicy(memory, slot + 1);
  return target.readKey === 0 && !target.private;
}
