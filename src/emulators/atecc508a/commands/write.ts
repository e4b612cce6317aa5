import { equal, xor } from "../../../bytes/bytes.ts";
import { type Place, placeOf } from "../address.ts";
import { CONFIG, type SlotPolicy, slotPolicy, stage } from "../config.ts";
import { header, keyedDigest, zeros } from "../digests.ts";
import type { Packet } from "../packet.ts";
import { isMarkedValid, storeInSlot } from "../slots.ts";
import { STATUS } from "../status.ts";
import { isEncryptionKey, tempKeyValue } from "../volatile-state.ts";
import { ANY, type Answer, type Command, type Unit } from "./command.ts";

const isPlace = (packet: Packet) => placeOf(packet) !== undefined;
const OTP_MODE_CONSUMPTION = 0x55;

/** ATECC508A, Write. param1: zone, b6 encrypted (as the host sees it), b7 32 bytes. */
export const write: Command = {
  name: "Write",
  opcode: 0x12,
  forms: [
    { param1: [0, 1, 2], param2: ANY, data: [4], also: isPlace },
    { param1: [0x80, 0x81, 0x82], param2: ANY, data: [32], also: isPlace },
    { param1: [0x82, 0xc2], param2: ANY, data: [64], also: isPlace },
  ],
  run(unit, packet) {
    const place = placeOf(packet);
    if (!place) return STATUS.PARSE_ERROR;
    if (place.zone === "config") return writeConfig(unit, place, packet.data);
    if (place.zone === "otp") return writeOtp(unit, place, packet.data);
    return writeSlot(unit, place.zone, place, packet);
  },
};

function writeConfig({ memory }: Unit, { offset }: Place, data: Uint8Array): Answer {
  const end = offset + data.length;
  const isWritable = offset >= CONFIG.I2C_ADDRESS && (end <= CONFIG.USER_EXTRA || offset >= CONFIG.SLOT_LOCKED);
  if (stage(memory) !== "open" || !isWritable) return STATUS.EXECUTION_ERROR;
  memory.write("config", offset, data);
  return STATUS.OK;
}

function writeOtp({ memory }: Unit, { offset }: Place, data: Uint8Array): Answer {
  const now = stage(memory);
  if (now === "configured" && data.length === 32) {
    memory.write("otp", offset, data);
    return STATUS.OK;
  }
  const consumption = memory.model === "508a" && memory.config[CONFIG.OTP_MODE] === OTP_MODE_CONSUMPTION;
  if (now !== "locked" || !consumption) return STATUS.EXECUTION_ERROR;
  // Bits only ever go from 1 to 0.
  memory.write(
    "otp",
    offset,
    data.map((byte, i) => byte & (memory.otp[offset + i] ?? 0)),
  );
  return STATUS.OK;
}

function writeSlot(unit: Unit, slot: number, { offset }: Place, packet: Packet): Answer {
  const encrypted = packet.data.length === 64;
  const policy = slotPolicy(unit.memory, slot);
  const plain = mayWrite(unit, policy, packet)
    ? encrypted
      ? decrypted(unit, packet, policy.writeKey)
      : packet.data
    : undefined;
  if (encrypted) unit.state.tempKey.valid = false;
  if (!plain) return STATUS.EXECUTION_ERROR;
  storeInSlot(unit.memory, slot, offset, plain);
  return STATUS.OK;
}

function mayWrite({ memory }: Unit, policy: SlotPolicy, { data }: Packet): boolean {
  if (policy.private || policy.locked) return false;
  const now = stage(memory);
  if (now !== "locked") return now === "configured" && data.length >= 32;
  // SlotConfig bits 15:12: x1xx encrypted, 0000 clear, 0001 clear while the public key is not valid, others never.
  if (policy.writeConfig & 0b0100) return data.length === 64;
  if (data.length === 64) return false;
  return policy.writeConfig === 0b0000 || (policy.writeConfig === 0b0001 && !isMarkedValid(memory, policy.slot));
}

/** @returns undefined when TempKey may not encrypt for that slot or the MAC is wrong */
function decrypted({ memory, state }: Unit, packet: Packet, writeKey: number): Uint8Array | undefined {
  const tempKey = tempKeyValue(state);
  if (!tempKey || !isEncryptionKey(state, writeKey)) return undefined;
  const plain = xor(packet.data, tempKey);
  const mac = keyedDigest(memory, tempKey, header(packet), zeros(25), plain);
  return equal(mac, packet.data.subarray(32)) ? plain : undefined;
}
