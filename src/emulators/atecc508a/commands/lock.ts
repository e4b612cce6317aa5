import { crc16 } from "../../../bytes/crc16.ts";
import { CONFIG, slotPolicy, stage } from "../config.ts";
import { writeConfigByte } from "../memory.ts";
import { STATUS } from "../status.ts";
import { ANY, type Answer, type Command, NOTHING, type Unit } from "./command.ts";

const ZONE_CONFIG = 0;
const ZONE_DATA_AND_OTP = 1;
const ONE_SLOT = 2;
const NO_SUMMARY = 0x80;
const LOCKED = 0x00;

/** ATECC508A, Lock. param1: b1:0 what, b5:2 slot, b7 do not look at the summary in param2. */
export const lock: Command = {
  name: "Lock",
  opcode: 0x17,
  forms: [
    {
      param1: [ZONE_CONFIG, ZONE_DATA_AND_OTP, NO_SUMMARY | ZONE_CONFIG, NO_SUMMARY | ZONE_DATA_AND_OTP],
      param2: ANY,
      data: NOTHING,
    },
    {
      param1: Array.from({ length: 16 }, (_, slot) => [
        ONE_SLOT | (slot << 2),
        NO_SUMMARY | ONE_SLOT | (slot << 2),
      ]).flat(),
      param2: ANY,
      data: NOTHING,
    },
  ],
  run(unit, { param1, param2 }) {
    const { memory } = unit;
    const what = param1 & 3;
    if (what === ONE_SLOT) return lockSlot(unit, (param1 >> 2) & 0x0f);
    if (stage(memory) !== (what === ZONE_CONFIG ? "open" : "configured")) return STATUS.EXECUTION_ERROR;
    const contents = what === ZONE_CONFIG ? [memory.config] : [...memory.slots, memory.otp];
    const summary = contents.reduce((crc, bytes) => crc16(bytes, crc), 0);
    if (!(param1 & NO_SUMMARY) && param2 !== summary) return STATUS.EXECUTION_ERROR;
    writeConfigByte(memory, what === ZONE_CONFIG ? CONFIG.LOCK_CONFIG : CONFIG.LOCK_VALUE, LOCKED);
    return STATUS.OK;
  },
};

function lockSlot({ memory }: Unit, slot: number): Answer {
  const { lockable, locked } = slotPolicy(memory, slot);
  if (stage(memory) === "open" || !lockable || locked) return STATUS.EXECUTION_ERROR;
  const offset = CONFIG.SLOT_LOCKED + (slot >> 3);
  writeConfigByte(memory, offset, (memory.config[offset] ?? 0) & ~(1 << (slot & 7)));
  return STATUS.OK;
}
