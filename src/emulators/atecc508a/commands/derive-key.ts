import { equal } from "../../../bytes/bytes.ts";
import { type SlotPolicy, slotPolicy } from "../config.ts";
import { header, keyedDigest, sha256, snx, zeros } from "../digests.ts";
import { mayUse, takeUse } from "../gates.ts";
import { secret, storeInSlot } from "../slots.ts";
import { STATUS } from "../status.ts";
import { type Command, SLOTS } from "./command.ts";
import { tempKeyFromSource } from "./mac.ts";

/** ATECC508A, DeriveKey. */
export const deriveKey: Command = {
  name: "DeriveKey",
  opcode: 0x1c,
  forms: [{ param1: [0x00, 0x04], param2: SLOTS, data: [0, 32] }],
  spendsTempKey: true,
  run(unit, packet) {
    const { memory, state } = unit;
    const target = slotPolicy(memory, packet.param2);
    const way = derivation(target);
    const tempKey = tempKeyFromSource(state, packet.param1);
    if (!way || !tempKey || way.mac !== (packet.data.length === 32)) return STATUS.EXECUTION_ERROR;
    if (target.private || target.locked) return STATUS.EXECUTION_ERROR;
    if (!mayUse(unit, way.parent, "DeriveKey", true) || !takeUse(unit, way.parent, "DeriveKey")) {
      return STATUS.EXECUTION_ERROR;
    }
    const parent = secret(memory, way.parent);
    if (way.mac && !equal(packet.data, sha256(parent, header(packet), snx(memory)))) return STATUS.MISCOMPARE;
    storeInSlot(memory, target.slot, 0, keyedDigest(memory, parent, header(packet), zeros(25), tempKey));
    return STATUS.OK;
  },
};

/** SlotConfig.WriteConfig as DeriveKey sees it; bit 14 does not count. */
function derivation({ slot, writeKey, writeConfig }: SlotPolicy): { parent: number; mac: boolean } | undefined {
  switch (writeConfig & 0b1011) {
    case 0b0010:
      return { parent: slot, mac: false };
    case 0b1010:
      return { parent: slot, mac: true };
    case 0b0011:
      return { parent: writeKey, mac: false };
    case 0b1011:
      return { parent: writeKey, mac: true };
    default:
      return undefined;
  }
}
