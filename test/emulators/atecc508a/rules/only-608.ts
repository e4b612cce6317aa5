import { createCipheriv, createDecipheriv } from "node:crypto";
import { AT, bit, type Device, keyConfigOf, SLOT_SIZES, slotBytes } from "./device.ts";
import { dataLocked, noPrivate, reqAuth, slotOf } from "./gates.ts";
import { bytes, type Command, EXECUTION, OK, type Rules, status } from "./rules.ts";

/** Commands that only the 608 has: AES with the key of a slot, SelfTest, SecureBoot. */

const decrypts = ({ mode }: Command): boolean => (mode & 7) === 1;
const keyAt = ({ mode }: Command): number => 16 * (mode >> 6);

const aes: Rules = {
  name: "AES",
  opcode: 0x51,
  models: ["608a"],
  accepts: ({ mode, param2, data }) => (mode & 0b11_1110) === 0 && param2 < 16 && data.length === 16,
  // That the key has to lie in the slot is said, not with which answer.
  isOpen: (command) => keyAt(command) + 16 > (SLOT_SIZES[command.param2] ?? 0),
  conditions: [
    dataLocked,
    noPrivate(slotOf),
    { rule: "AES_Enable", holds: (_, { config }) => bit(config[AT.aesEnable] ?? 0, 0) },
    { rule: "KeyType 6", holds: ({ param2 }, device) => keyConfigOf(device, param2).keyType === 6 },
    reqAuth(slotOf),
  ],
  limited: ({ param2 }) => param2,
  perform: (command, device) => bytes(aesBlock(command, device)),
};

function aesBlock(command: Command, device: Device): Uint8Array {
  const key = slotBytes(device, command.param2).slice(keyAt(command), keyAt(command) + 16);
  const cipher = (decrypts(command) ? createDecipheriv : createCipheriv)("aes-128-ecb", key, null);
  cipher.setAutoPadding(false);
  return new Uint8Array(cipher.update(command.data));
}

const selfTest: Rules = {
  name: "SelfTest",
  opcode: 0x77,
  models: ["608a"],
  accepts: ({ mode, param2, data }) => mode !== 0 && (mode & ~0x3b) === 0 && param2 === 0 && data.length === 0,
  conditions: [],
  perform: () => status(OK),
};

const secureBoot: Rules = {
  name: "SecureBoot",
  opcode: 0x80,
  models: ["608a"],
  accepts: ({ mode, data }) => [5, 6, 7].includes(mode & 0x3f) && (data.length === 32 || data.length === 96),
  conditions: [{ rule: "SecureBootConfig 0 allows nothing", holds: () => false }],
  perform: () => status(EXECUTION),
};

export const only608Commands: readonly Rules[] = [aes, selfTest, secureBoot];
