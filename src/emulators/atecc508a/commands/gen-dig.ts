import { concat } from "../../../bytes/bytes.ts";
import { Writer } from "../../../bytes/writer.ts";
import { configBytes, slotPolicy, stage } from "../config.ts";
import { readCounter } from "../counters.ts";
import { header, keyedDigest, zeros } from "../digests.ts";
import { mayUse, takeUse } from "../gates.ts";
import type { Packet } from "../packet.ts";
import { secret } from "../slots.ts";
import { STATUS } from "../status.ts";
import { tempKeyValue } from "../volatile-state.ts";
import { ANY, type Command, NOTHING, SLOTS, type Unit } from "./command.ts";

const ZONE = { CONFIG: 0, OTP: 1, DATA: 2, SHARED_NONCE: 3, COUNTER: 4, KEY_CONFIG: 5 } as const;

/** ATECC508A, GenDig. */
export const genDig: Command = {
  name: "GenDig",
  opcode: 0x15,
  forms: [
    { param1: [ZONE.CONFIG], param2: [[0, 3]], data: NOTHING },
    { param1: [ZONE.OTP], param2: [0, 1], data: NOTHING },
    { param1: [ZONE.DATA], param2: SLOTS, data: [0, 4] },
    { param1: [ZONE.SHARED_NONCE], param2: ANY, data: [32] },
    { param1: [ZONE.COUNTER], param2: [0, 1], data: NOTHING },
    { param1: [ZONE.KEY_CONFIG], param2: SLOTS, data: NOTHING },
  ],
  run(unit, packet) {
    const { memory, state } = unit;
    const zone = packet.param1;
    const tempKey = tempKeyValue(state);
    if (!tempKey) return STATUS.EXECUTION_ERROR;
    if ((zone === ZONE.OTP || zone === ZONE.DATA) && stage(memory) === "open") return STATUS.EXECUTION_ERROR;
    const policy = zone === ZONE.DATA ? slotPolicy(memory, packet.param2) : undefined;
    if (policy) {
      // OtherData is there exactly if the slot is a NoMac slot.
      if (policy.noMac !== (packet.data.length === 4)) return STATUS.EXECUTION_ERROR;
      if (!mayUse(unit, policy.slot, "GenDig", true) || !takeUse(unit, policy.slot, "GenDig")) {
        return STATUS.EXECUTION_ERROR;
      }
    }
    const { first, purpose, fill, last } = parts(unit, packet, tempKey);
    state.tempKey = {
      ...state.tempKey,
      value: keyedDigest(memory, first, purpose, fill, last),
      genDigData: policy !== undefined,
      keyId: policy?.slot ?? 0,
      noMacFlag: policy?.noMac ?? false,
      genKeyData: false,
    };
    return STATUS.OK;
  },
};

interface Parts {
  readonly first: Uint8Array;
  readonly purpose: Uint8Array;
  readonly fill: Uint8Array;
  readonly last: Uint8Array;
}

function parts({ memory }: Unit, packet: Packet, tempKey: Uint8Array): Parts {
  const { opcode, param1, param2, data } = packet;
  const basic = { purpose: header(packet), fill: zeros(25), last: tempKey };
  switch (param1) {
    case ZONE.CONFIG:
      return { ...basic, first: memory.config.subarray(32 * param2, 32 * param2 + 32) };
    case ZONE.OTP:
      return { ...basic, first: memory.otp.subarray(32 * param2, 32 * param2 + 32) };
    case ZONE.DATA:
      return { ...basic, first: secret(memory, param2), purpose: data.length === 4 ? data : basic.purpose };
    case ZONE.SHARED_NONCE: {
      const purpose = Uint8Array.of(opcode, param1, param2 & 0xff, 0);
      const [first, last] = param2 & 0x8000 ? [tempKey, data] : [data, tempKey];
      return { ...basic, first, purpose, last };
    }
    case ZONE.COUNTER: {
      const fill = new Writer(25).u8(0).u32le(readCounter(memory, param2)).zeros(20).done();
      return { ...basic, first: zeros(32), fill };
    }
    default: {
      const slotConfig = configBytes(memory, "SLOT_CONFIG", param2);
      const keyConfig = configBytes(memory, "KEY_CONFIG", param2);
      const unlocked = Uint8Array.of(slotPolicy(memory, param2).locked ? 0 : 1);
      return { ...basic, first: zeros(32), fill: concat(zeros(1), slotConfig, keyConfig, unlocked, zeros(19)) };
    }
  }
}
