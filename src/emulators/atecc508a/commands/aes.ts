import { decryptBlock, encryptBlock, multiplyBlocks } from "../aes.ts";
import { isAesEnabled, KEY_TYPE_AES, slotPolicy } from "../config.ts";
import { mayUse, takeUse } from "../gates.ts";
import { slotBytes } from "../slots.ts";
import { STATUS } from "../status.ts";
import { type Command, NOTHING, SLOTS, type Unit } from "./command.ts";

const ENCRYPT = 0;
const DECRYPT = 1;
const GFM = 3;
/** Mode b7:6: which 16 bytes of the source are the key. */
const KEY_BLOCKS = [0x00, 0x40, 0x80, 0xc0];
const FROM_TEMP_KEY = 0xffff;

/** ATECC608A, AES. GFM multiplies two blocks, and uses no key. */
export const aes: Command = {
  name: "AES",
  opcode: 0x51,
  forms: [
    {
      model: "608a",
      param1: KEY_BLOCKS.flatMap((block) => [block | ENCRYPT, block | DECRYPT]),
      param2: [...SLOTS, FROM_TEMP_KEY],
      data: [16],
    },
    { model: "608a", param1: [GFM], param2: NOTHING, data: [32] },
  ],
  run(unit, { param1, param2, data }) {
    if (!isAesEnabled(unit.memory)) return STATUS.EXECUTION_ERROR;
    if (param1 === GFM) return multiplyBlocks(data.subarray(0, 16), data.subarray(16));
    const source = param2 === FROM_TEMP_KEY ? keysInTempKey(unit) : keysInSlot(unit, param2);
    const offset = 16 * (param1 >> 6);
    const key = source?.subarray(offset, offset + 16);
    if (key?.length !== 16) return STATUS.EXECUTION_ERROR;
    if (param2 !== FROM_TEMP_KEY && !takeUse(unit, param2, "AES")) return STATUS.EXECUTION_ERROR;
    return (param1 & 7) === ENCRYPT ? encryptBlock(key, data) : decryptBlock(key, data);
  },
};

function keysInTempKey({ state: { tempKey } }: Unit): Uint8Array | undefined {
  return tempKey.valid && !tempKey.isPrivateKey ? tempKey.value : undefined;
}

function keysInSlot(unit: Unit, slot: number): Uint8Array | undefined {
  const isAesSlot = slotPolicy(unit.memory, slot).keyType === KEY_TYPE_AES;
  return isAesSlot && mayUse(unit, slot, "AES", false) ? slotBytes(unit.memory, slot) : undefined;
}
