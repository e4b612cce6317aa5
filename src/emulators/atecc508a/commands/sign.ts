import { concat } from "../../../bytes/bytes.ts";
import { Writer } from "../../../bytes/writer.ts";
import { configBytes, isEccPrivate, isPublic, serialNumber, slotPolicy } from "../config.ts";
import { header, sha256, zeros } from "../digests.ts";
import { mayUse, takeUse } from "../gates.ts";
import { sign as ecdsaSign } from "../p256.ts";
import type { Packet } from "../packet.ts";
import { isMarkedValid, privateKey } from "../slots.ts";
import { STATUS } from "../status.ts";
import { flagsByte, tempKeyValue } from "../volatile-state.ts";
import { type Command, NOTHING, SLOTS, type Unit } from "./command.ts";

const EXTERNAL = 0x80;
const INCLUDE_SN = 0x40;
/** 608. */
const FROM_MESSAGE_DIGEST_BUFFER = 0x20;

/** SlotConfig.ReadKey of an ECC private slot. */
const MAY_SIGN_EXTERNAL = 0x1;
const MAY_SIGN_INTERNAL = 0x2;

/** ATECC508A, Sign. */
export const sign: Command = {
  name: "Sign",
  opcode: 0x41,
  forms: [
    { param1: [EXTERNAL, 0x00, 0x01, INCLUDE_SN, INCLUDE_SN | 0x01], param2: SLOTS, data: NOTHING },
    { model: "608a", param1: [EXTERNAL | FROM_MESSAGE_DIGEST_BUFFER], param2: SLOTS, data: NOTHING },
  ],
  spendsTempKey: true,
  run(unit, packet) {
    const { memory, state } = unit;
    const { param1: mode, param2: slot } = packet;
    const policy = slotPolicy(memory, slot);
    const key = privateKey(memory, slot);
    const permission = mode & EXTERNAL ? MAY_SIGN_EXTERNAL : MAY_SIGN_INTERNAL;
    const fromBuffer = (mode & FROM_MESSAGE_DIGEST_BUFFER) !== 0;
    const digest = fromBuffer ? state.messageDigestBuffer?.subarray(0, 32) : messageFromTempKey(unit, packet);
    if (fromBuffer) state.messageDigestBuffer = undefined;
    if (!isEccPrivate(policy) || !key || !(policy.readKey & permission) || !digest) return STATUS.EXECUTION_ERROR;
    if (!mayUse(unit, slot, "Sign", !fromBuffer) || !takeUse(unit, slot, "Sign")) return STATUS.EXECUTION_ERROR;
    return ecdsaSign(digest, key, unit.freshKeyPair);
  },
};

function messageFromTempKey(unit: Unit, packet: Packet): Uint8Array | undefined {
  const { tempKey } = unit.state;
  const value = tempKeyValue(unit.state);
  if (!value || packet.param1 & EXTERNAL) return value;
  return tempKey.genDigData || tempKey.genKeyData ? sha256(internalMessage(unit, packet, value)) : undefined;
}

/** 55 bytes that say what is in TempKey and how the slot it came from is configured. */
function internalMessage({ memory, state }: Unit, packet: Packet, tempKey: Uint8Array): Uint8Array {
  const source = slotPolicy(memory, state.tempKey.keyId);
  const sn = serialNumber(memory);
  const wholeSerial = (packet.param1 & INCLUDE_SN) !== 0;
  const message = new Writer(55)
    .put(concat(tempKey, header(packet)))
    .put(configBytes(memory, "SLOT_CONFIG", source.slot))
    .put(configBytes(memory, "KEY_CONFIG", source.slot))
    .u8(flagsByte(state))
    .zeros(2)
    .put(sn.subarray(8, 9))
    .put(wholeSerial ? sn.subarray(4, 8) : zeros(4))
    .put(sn.subarray(0, 2))
    .put(wholeSerial ? sn.subarray(2, 4) : zeros(2))
    .u8(source.locked ? 0 : 1)
    .u8(isPublic(source) && isMarkedValid(memory, source.slot) ? 1 : 0)
    .u8(0);
  return message.done();
}
