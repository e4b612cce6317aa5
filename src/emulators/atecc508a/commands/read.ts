import { xor } from "../../../bytes/bytes.ts";
import { isBlock, type Place, placeOf } from "../address.ts";
import { slotPolicy, stage } from "../config.ts";
import { slotBytes } from "../slots.ts";
import { STATUS } from "../status.ts";
import { isEncryptionKey, tempKeyValue } from "../volatile-state.ts";
import { ANY, type Answer, type Command, NOTHING, type Unit } from "./command.ts";

/** ATECC508A, Read. */
export const read: Command = {
  name: "Read",
  opcode: 0x02,
  forms: [
    {
      param1: [0, 1, 2, 0x80, 0x81, 0x82],
      param2: ANY,
      data: NOTHING,
      also: (packet) => (placeOf(packet)?.room ?? 0) >= (isBlock(packet.param1) ? 32 : 4),
    },
  ],
  run(unit, packet) {
    const { memory } = unit;
    const place = placeOf(packet);
    if (!place) return STATUS.PARSE_ERROR;
    const length = isBlock(packet.param1) ? 32 : 4;
    const { zone, offset } = place;
    if (zone === "config") return memory.config.slice(offset, offset + length);
    if (stage(memory) !== "locked") return STATUS.EXECUTION_ERROR;
    return zone === "otp" ? memory.otp.slice(offset, offset + length) : readSlot(unit, zone, place, length);
  },
};

function readSlot({ memory, state }: Unit, slot: number, { offset }: Place, length: number): Answer {
  const policy = slotPolicy(memory, slot);
  // Clear reads of a secret, and EncryptRead without IsSecret, exist under no condition.
  if (policy.private || policy.isSecret !== policy.encryptRead) return STATUS.EXECUTION_ERROR;
  const content = slotBytes(memory, slot).slice(offset, offset + length);
  if (!policy.isSecret) return content;
  const tempKey = tempKeyValue(state);
  if (length !== 32 || !tempKey || state.tempKey.sourceFlag !== 0 || !isEncryptionKey(state, policy.readKey)) {
    return STATUS.EXECUTION_ERROR;
  }
  state.tempKey.valid = false;
  return xor(content, tempKey);
}
