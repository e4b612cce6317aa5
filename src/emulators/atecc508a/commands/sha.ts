import { isPublic, slotPolicy } from "../config.ts";
import { mayUse, takeUse } from "../gates.ts";
import type { Packet } from "../packet.ts";
import { decodeContext, encodeContext, startHmac, startSha } from "../sha-context.ts";
import { publicKey, secret } from "../slots.ts";
import { STATUS } from "../status.ts";
import { loadTempKey } from "../volatile-state.ts";
import { type Answer, type Command, NOTHING, SLOTS, type Unit } from "./command.ts";

const MODE = { START: 0, UPDATE: 1, END: 2, PUBLIC: 3, HMAC_START: 4, HMAC_END: 5, READ_CONTEXT: 6, WRITE_CONTEXT: 7 };
/** Mode b7:6 of the 608; 3 is output only. */
const TARGET = { TEMP_KEY: 0x00, MESSAGE_DIGEST_BUFFER: 0x40, OUTPUT: 0xc0 } as const;

const lengthInParam2 = ({ param2, data }: Packet) => param2 === data.length;
const SMALLEST_CONTEXT = 36;

/** ATECC508A, SHA. A refused step ends the computation. */
export const sha: Command = {
  name: "SHA",
  opcode: 0x47,
  forms: [
    { param1: [MODE.START], param2: NOTHING, data: NOTHING },
    { param1: [MODE.UPDATE], param2: [64], data: [64] },
    { param1: [MODE.END], param2: [[0, 63]], data: [[0, 63]], also: lengthInParam2 },
    { param1: [MODE.PUBLIC, MODE.HMAC_START], param2: SLOTS, data: NOTHING },
    { model: "508a", param1: [MODE.HMAC_END], param2: [[0, 63]], data: [[0, 63]], also: lengthInParam2 },
    {
      model: "608a",
      param1: [MODE.END | TARGET.MESSAGE_DIGEST_BUFFER, MODE.END | TARGET.OUTPUT],
      param2: [[0, 63]],
      data: [[0, 63]],
      also: lengthInParam2,
    },
    { model: "608a", param1: [MODE.READ_CONTEXT], param2: NOTHING, data: NOTHING },
    {
      model: "608a",
      param1: [MODE.WRITE_CONTEXT],
      param2: [[SMALLEST_CONTEXT, SMALLEST_CONTEXT + 63]],
      data: [[SMALLEST_CONTEXT, SMALLEST_CONTEXT + 63]],
      also: (packet) => lengthInParam2(packet) && decodeContext(packet.data) !== undefined,
    },
  ],
  run(unit, packet) {
    const answer = step(unit, packet);
    if (answer === STATUS.EXECUTION_ERROR) unit.state.sha = undefined;
    return answer;
  },
};

function step(unit: Unit, { param1, param2, data }: Packet): Answer {
  const { memory, state } = unit;
  const context = state.sha;
  switch (param1 & 7) {
    case MODE.START:
      start(unit);
      state.sha = startSha();
      return STATUS.OK;
    case MODE.HMAC_START:
      start(unit);
      if (!mayUse(unit, param2, "ShaHmac", false) || !takeUse(unit, param2, "ShaHmac")) return STATUS.EXECUTION_ERROR;
      state.sha = startHmac(secret(memory, param2));
      return STATUS.OK;
    case MODE.UPDATE:
      context?.inner.update(data);
      return context ? STATUS.OK : STATUS.EXECUTION_ERROR;
    case MODE.PUBLIC:
      if (!context || !isPublic(slotPolicy(memory, param2)) || !mayUse(unit, param2, "ShaPublic", false)) {
        return STATUS.EXECUTION_ERROR;
      }
      context.inner.update(publicKey(memory, param2));
      return STATUS.OK;
    case MODE.READ_CONTEXT:
      return context?.kind === "SHA" ? encodeContext(context) : STATUS.EXECUTION_ERROR;
    case MODE.WRITE_CONTEXT:
      state.sha = decodeContext(data);
      return STATUS.OK;
    default:
      return end(unit, param1, data);
  }
}

/** On the 508 a start makes TempKey invalid, so that nobody relies on what the silicon leaves in it. */
function start({ memory, state }: Unit): void {
  state.sha = undefined;
  if (memory.model === "508a") state.tempKey.valid = false;
}

function end({ memory, state }: Unit, param1: number, data: Uint8Array): Answer {
  const context = state.sha;
  if (!context) return STATUS.EXECUTION_ERROR;
  if (memory.model === "508a" && (context.kind === "HMAC") !== (param1 === MODE.HMAC_END)) {
    return STATUS.EXECUTION_ERROR;
  }
  state.sha = undefined;
  context.inner.update(data);
  const digest = context.finish();
  if (memory.model === "608a") {
    if ((param1 & 0xc0) === TARGET.TEMP_KEY) loadTempKey(state, digest, 1);
    else if ((param1 & 0xc0) === TARGET.MESSAGE_DIGEST_BUFFER) state.messageDigestBuffer = digest;
  }
  return digest;
}
