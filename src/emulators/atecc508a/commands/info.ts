import { CONFIG, isEccPrivate, isPublic, slotPolicy } from "../config.ts";
import { holdsUsablePublicKey, privateKey } from "../slots.ts";
import { flagsByte } from "../volatile-state.ts";
import { ANY, type Command, NOTHING, SLOTS, type Unit } from "./command.ts";

const REVISION = 0;
const KEY_VALID = 1;
const STATE = 2;

/** ATECC508A, Info. The other modes, GPIO and (608) the volatile key permit, answer zeros. */
export const info: Command = {
  name: "Info",
  opcode: 0x30,
  forms: [
    { param1: [0, 2, 3], param2: ANY, data: NOTHING },
    { param1: [KEY_VALID], param2: SLOTS, data: NOTHING },
    { model: "608a", param1: [4], param2: ANY, data: NOTHING },
  ],
  run(unit, { param1, param2 }) {
    if (param1 === REVISION) return unit.memory.config.slice(CONFIG.REV_NUM, CONFIG.REV_NUM + 4);
    if (param1 === KEY_VALID) return Uint8Array.of(keyValid(unit, param2) ? 1 : 0, 0, 0, 0);
    if (param1 === STATE) return Uint8Array.of(flagsByte(unit.state), validity(unit), 0, 0);
    return new Uint8Array(4);
  },
};

function keyValid({ memory }: Unit, slot: number): boolean {
  const policy = slotPolicy(memory, slot);
  if (isEccPrivate(policy)) return privateKey(memory, slot) !== undefined;
  return isPublic(policy) && holdsUsablePublicKey(memory, policy);
}

/** State byte 1: Valid, AuthKeyID, AuthValid. */
function validity({ state: { tempKey, authKeyId } }: Unit): number {
  return (Number(tempKey.valid) << 7) | ((authKeyId ?? 0) << 3) | (authKeyId === undefined ? 0 : 0x04);
}
