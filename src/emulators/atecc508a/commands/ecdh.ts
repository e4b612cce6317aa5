import { chipOptions, isEccPrivate, slotPolicy, stage } from "../config.ts";
import { mayUse, takeUse } from "../gates.ts";
import { ioKey, protectedOutput } from "../io-protection.ts";
import { sharedSecret } from "../p256.ts";
import { allows, type Destination } from "../protection.ts";
import { privateKey, storeInSlot } from "../slots.ts";
import { STATUS } from "../status.ts";
import { loadTempKey } from "../volatile-state.ts";
import { type Answer, type Command, SLOTS, type Unit } from "./command.ts";

/** Mode of the 608. */
const FROM_TEMP_KEY = 0x01;
const ENCRYPT = 0x02;
const TARGET = { COMPATIBLE: 0x00, SLOT: 0x04, TEMP_KEY: 0x08, OUTPUT: 0x0c } as const;

/** SlotConfig.ReadKey of an ECC private slot. */
const MAY_ECDH = 0x4;
const INTO_NEXT_SLOT = 0x8;

/** ATECC508A, ECDH. Data: the other side's public key, X ‖ Y. */
export const ecdh: Command = {
  name: "ECDH",
  opcode: 0x43,
  forms: [
    { model: "508a", param1: [0], param2: SLOTS, data: [64] },
    {
      model: "608a",
      param1: [
        TARGET.COMPATIBLE,
        TARGET.COMPATIBLE | ENCRYPT,
        TARGET.SLOT,
        TARGET.TEMP_KEY,
        TARGET.OUTPUT,
        TARGET.OUTPUT | ENCRYPT,
        FROM_TEMP_KEY | TARGET.COMPATIBLE,
        FROM_TEMP_KEY | TARGET.COMPATIBLE | ENCRYPT,
        FROM_TEMP_KEY | TARGET.TEMP_KEY,
        FROM_TEMP_KEY | TARGET.OUTPUT,
        FROM_TEMP_KEY | TARGET.OUTPUT | ENCRYPT,
      ],
      param2: SLOTS,
      data: [64],
    },
  ],
  run(unit, { param1: mode, param2: slot, data: point }) {
    const fromSlot = !(mode & FROM_TEMP_KEY);
    const destination = destinationOf(unit, mode, slot);
    const scalar = fromSlot ? keyOfSlot(unit, slot) : keyInTempKey(unit);
    if (!destination || !scalar) return STATUS.EXECUTION_ERROR;
    if (destination === "slot" && !mayTakeSecret(unit, slot)) return STATUS.EXECUTION_ERROR;
    if (destination === "encrypted output" && !ioKey(unit)) return STATUS.EXECUTION_ERROR;
    if (fromSlot && !takeUse(unit, slot, "ECDH")) return STATUS.EXECUTION_ERROR;
    const result = sharedSecret(scalar, point);
    return result ? deliver(unit, destination, slot, result) : STATUS.ECC_FAULT;
  },
};

/** @returns undefined when ReadKey or ChipOptions do not allow what is wanted */
function destinationOf({ memory }: Unit, mode: number, slot: number): Destination | undefined {
  const target = mode & TARGET.OUTPUT;
  const toSlotOnly = !(mode & FROM_TEMP_KEY) && (slotPolicy(memory, slot).readKey & INTO_NEXT_SLOT) !== 0;
  const destination = wanted();
  if (toSlotOnly && destination !== "slot") return undefined;
  const level = memory.model === "608a" ? chipOptions(memory).ecdhProtection : 0;
  return allows(level, destination) ? destination : undefined;

  function wanted(): Destination {
    if (target === TARGET.SLOT || (target === TARGET.COMPATIBLE && toSlotOnly)) return "slot";
    if (target === TARGET.TEMP_KEY) return "TempKey";
    return mode & ENCRYPT ? "encrypted output" : "output";
  }
}

function keyOfSlot(unit: Unit, slot: number): Uint8Array | undefined {
  const policy = slotPolicy(unit.memory, slot);
  if (!isEccPrivate(policy) || !(policy.readKey & MAY_ECDH) || !mayUse(unit, slot, "ECDH", false)) return undefined;
  return privateKey(unit.memory, slot);
}

function keyInTempKey({ memory, state: { tempKey } }: Unit): Uint8Array | undefined {
  return stage(memory) === "locked" && tempKey.valid && tempKey.isPrivateKey ? tempKey.value : undefined;
}

/** The secret goes to the odd slot after that of the key. */
function mayTakeSecret({ memory }: Unit, slot: number): boolean {
  if (slot % 2 !== 0) return false;
  const target = slotPolicy(memory, slot + 1);
  return !target.private && !target.locked;
}

function deliver(unit: Unit, destination: Destination, slot: number, result: Uint8Array): Answer {
  switch (destination) {
    case "slot":
      storeInSlot(unit.memory, slot + 1, 0, result);
      return STATUS.OK;
    case "TempKey":
      loadTempKey(unit.state, result, 1);
      return STATUS.OK;
    case "encrypted output": {
      const key = ioKey(unit);
      return key ? protectedOutput(unit, key, result) : STATUS.EXECUTION_ERROR;
    }
    case "output":
      return result;
  }
}
