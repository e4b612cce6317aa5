import { sha256 } from "../digests.ts";
import { STATUS } from "../status.ts";
import { loadTempKey, tempKeyValue } from "../volatile-state.ts";
import { type Command, NOTHING } from "./command.ts";
import { randomOutput } from "./random.ts";

const PASS_THROUGH = 3;
const TARGET_MESSAGE_DIGEST_BUFFER = 1;
const TARGET_ALTERNATE_KEY_BUFFER = 2;
const TEMP_KEY_AS_RAND_OUT = 0x8000;

/** ATECC508A, Nonce. */
export const nonce: Command = {
  name: "Nonce",
  opcode: 0x16,
  forms: [
    { param1: [0, 1], param2: NOTHING, data: [20] },
    { param1: [PASS_THROUGH], param2: NOTHING, data: [32] },
    { model: "608a", param1: [0, 1], param2: [TEMP_KEY_AS_RAND_OUT], data: [20] },
    { model: "608a", param1: [0x43, 0x83], param2: NOTHING, data: [32] },
    { model: "608a", param1: [0x23, 0x63], param2: NOTHING, data: [64] },
  ],
  run(unit, { opcode, param1, param2, data }) {
    const { state } = unit;
    if ((param1 & 3) === PASS_THROUGH) {
      const target = param1 >> 6;
      if (target === TARGET_MESSAGE_DIGEST_BUFFER) state.messageDigestBuffer = Uint8Array.from(data);
      else if (target === TARGET_ALTERNATE_KEY_BUFFER) state.alternateKeyBuffer = Uint8Array.from(data);
      else loadTempKey(state, data, 1);
      return STATUS.OK;
    }
    const randOut = param2 === TEMP_KEY_AS_RAND_OUT ? tempKeyValue(state) : randomOutput(unit);
    if (!randOut) return STATUS.EXECUTION_ERROR;
    // A value made from a fixed TempKey is as fixed as that.
    const source = param2 === TEMP_KEY_AS_RAND_OUT ? state.tempKey.sourceFlag : 0;
    loadTempKey(state, sha256(randOut, data, Uint8Array.of(opcode, param1, param2 & 0xff)), source);
    return param2 === TEMP_KEY_AS_RAND_OUT ? STATUS.OK : randOut;
  },
};
