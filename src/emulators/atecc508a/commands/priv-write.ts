import { concat, equal, xor } from "../../../bytes/bytes.ts";
import { isEccPrivate, slotPolicy, stage } from "../config.ts";
import { header, keyedDigest, sha256, zeros } from "../digests.ts";
import { isScalar } from "../p256.ts";
import type { Packet } from "../packet.ts";
import { STATUS } from "../status.ts";
import { isEncryptionKey, tempKeyValue } from "../volatile-state.ts";
import { type Command, SLOTS, type Unit } from "./command.ts";

const ENCRYPTED = 0x40;
/** SlotConfig bit 14. */
const WRITE_CONFIG_PRIV_WRITE = 0b0100;

/** ATECC508A, PrivWrite. Data: 4 bytes of padding and the key (36), MAC (32). */
export const privWrite: Command = {
  name: "PrivWrite",
  opcode: 0x46,
  forms: [{ param1: [0, ENCRYPTED], param2: SLOTS, data: [68] }],
  spendsTempKey: true,
  run(unit, packet) {
    const { memory } = unit;
    const policy = slotPolicy(memory, packet.param2);
    const now = stage(memory);
    if (now === "open" || !isEccPrivate(policy) || policy.locked) return STATUS.EXECUTION_ERROR;
    if (packet.param1 !== ENCRYPTED && now !== "configured") return STATUS.EXECUTION_ERROR;
    if (now === "locked" && !(policy.writeConfig & WRITE_CONFIG_PRIV_WRITE)) return STATUS.EXECUTION_ERROR;
    const plain = packet.param1 === ENCRYPTED ? decrypted(unit, packet, policy.writeKey) : packet.data.subarray(0, 36);
    if (!plain || !isScalar(plain.subarray(4))) return STATUS.EXECUTION_ERROR;
    memory.write(policy.slot, 0, plain);
    return STATUS.OK;
  },
};

/** @returns undefined when TempKey may not encrypt for that slot or the MAC is wrong */
function decrypted({ memory, state }: Unit, packet: Packet, writeKey: number): Uint8Array | undefined {
  const tempKey = tempKeyValue(state);
  if (!tempKey || !isEncryptionKey(state, writeKey)) return undefined;
  const plain = xor(packet.data, concat(tempKey, sha256(tempKey).subarray(0, 4)));
  const mac = keyedDigest(memory, tempKey, header(packet), zeros(21), plain);
  return equal(mac, packet.data.subarray(36)) ? plain : undefined;
}
