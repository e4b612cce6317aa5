import { isScalar, scalarIn } from "./curve.ts";
import { type Device, keyConfigOf, slotBytes, slotConfigOf, slotLocked, stageOf } from "./device.ts";
import type { Command, Condition } from "./rules.ts";

/** The conditions that several commands share. A `SlotOf` says which slot of a command a gate looks at. */
export type SlotOf = (command: Command, device: Device) => number;

/** The slot is the low four bits of param2. */
export const slotOf: SlotOf = ({ param2 }) => param2 & 15;

export const dataLocked: Condition = { rule: "data locked", holds: (_, device) => stageOf(device) === "locked" };
export const notOpen: Condition = { rule: "not while open", holds: (_, device) => stageOf(device) !== "open" };
export const tempKeyValid: Condition = { rule: "TempKey valid", holds: (_, { tempKey }) => tempKey.valid };
export const sourceMatches: Condition = {
  rule: "SourceFlag = mode b2",
  holds: ({ mode }, { tempKey }) => tempKey.source === ((mode >> 2) & 1),
};

export const noPrivate = (slot: SlotOf): Condition => ({
  rule: "no private slot",
  holds: (command, device) => !keyConfigOf(device, slot(command, device)).private,
});

export const notNoMac = (slot: SlotOf): Condition => ({
  rule: "NoMac",
  holds: (command, device) => !slotConfigOf(device, slot(command, device)).noMac,
});

/** @param inMessage whether TempKey is part of what the command computes */
export const reqRandom = (slot: SlotOf, inMessage: (command: Command) => boolean = () => true): Condition => ({
  rule: "ReqRandom",
  holds: (command, device) =>
    !keyConfigOf(device, slot(command, device)).reqRandom ||
    (inMessage(command) && device.tempKey.valid && device.tempKey.source === 0),
});

export const reqAuth = (slot: SlotOf): Condition => ({
  rule: "ReqAuth",
  holds: (command, device) => {
    const keyConfig = keyConfigOf(device, slot(command, device));
    return !keyConfig.reqAuth || (device.auth.valid && device.auth.keyId === keyConfig.authKey);
  },
});

export const notSlotLocked = (slot: SlotOf): Condition => ({
  rule: "not slot-locked",
  holds: (command, device) => !slotLocked(device, slot(command, device)),
});

export const eccPrivate: Condition = {
  rule: "ECC private slot",
  holds: (command, device) => isEccPrivate(device, slotOf(command, device)),
};

export const validPrivateKey: Condition = {
  rule: "a valid private key in the slot",
  holds: (command, device) => isScalar(scalarIn(slotBytes(device, slotOf(command, device)))),
};

export const publicSlot = (slot: SlotOf, rule = "public slot"): Condition => ({
  rule,
  holds: (command, device) => isPublicSlot(device, slot(command, device)),
});

/** With PubInfo the key must have been validated. */
export const publicKeyValidated = (slot: SlotOf, rule = "PubInfo: nibble 5"): Condition => ({
  rule,
  holds: (command, device) => {
    const at = slot(command, device);
    return !keyConfigOf(device, at).pubInfo || nibbleOf(device, at) === 5;
  },
});

/** TempKey comes from GenDig of the slot that SlotConfig.WriteKey names. */
export const tempKeyOfWriteKey: Condition = {
  rule: "TempKey valid, GenDigData, KeyID = WriteKey, not NoMacFlag",
  holds: (command, device) => isGenDigOf(device, slotConfigOf(device, slotOf(command, device)).writeKey),
};

export function isGenDigOf({ tempKey }: Device, slot: number): boolean {
  return tempKey.valid && tempKey.genDig && tempKey.keyId === slot && !tempKey.noMac;
}

export function isEccPrivate(device: Device, slot: number): boolean {
  const keyConfig = keyConfigOf(device, slot);
  return keyConfig.private && keyConfig.keyType === 4;
}

export function isPublicSlot(device: Device, slot: number): boolean {
  const keyConfig = keyConfigOf(device, slot);
  return !keyConfig.private && keyConfig.keyType === 4 && slot >= 8;
}

/** The nibble that says whether a public key was validated: 5, or A. */
export const nibbleOf = (device: Device, slot: number): number => (slotBytes(device, slot)[0] ?? 0) >> 4;

export function setNibble(device: Device, slot: number, nibble: number): void {
  const bytes = slotBytes(device, slot);
  bytes[0] = ((bytes[0] ?? 0) & 0x0f) | (nibble << 4);
}

/** After a write to a public slot with PubInfo, while locked, the key has to be validated again. */
export function unvalidate(device: Device, slot: number): void {
  if (stageOf(device) !== "locked" || !isPublicSlot(device, slot) || !keyConfigOf(device, slot).pubInfo) return;
  setNibble(device, slot, 0xa);
}

/** True when `mode` has no bit outside `mask`. */
export const only = (mode: number, mask: number): boolean => (mode & ~mask) === 0;
