import { CONFIG, slotPolicy, stage } from "../config.ts";
import { takeLastKeyUse } from "../gates.ts";
import { writeConfigByte } from "../memory.ts";
import { STATUS } from "../status.ts";
import { BYTES, type Command, NOTHING, SLOTS } from "./command.ts";

const USER_EXTRA = 0;
const SELECTOR = 1;
const DECREMENT_USES = 2;

/** ATECC508A, UpdateExtra. */
export const updateExtra: Command = {
  name: "UpdateExtra",
  opcode: 0x20,
  forms: [
    { param1: [USER_EXTRA, SELECTOR], param2: BYTES, data: NOTHING },
    { model: "508a", param1: [DECREMENT_USES], param2: SLOTS, data: NOTHING },
  ],
  run({ memory }, { param1, param2 }) {
    const now = stage(memory);
    if (param1 === DECREMENT_USES) {
      const counted = param2 === 15 && slotPolicy(memory, param2).limitedUse;
      return now !== "open" && counted && takeLastKeyUse(memory) ? STATUS.OK : STATUS.EXECUTION_ERROR;
    }
    const offset = param1 === USER_EXTRA ? CONFIG.USER_EXTRA : CONFIG.SELECTOR;
    if (now !== "open" && memory.config[offset] !== 0) return STATUS.EXECUTION_ERROR;
    writeConfigByte(memory, offset, param2);
    return STATUS.OK;
  },
};
