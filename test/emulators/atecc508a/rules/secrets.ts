import { concat, equal } from "../../../../src/bytes/bytes.ts";
import { counterValue } from "./counters.ts";
import {
  AT,
  type Device,
  keyConfigOf,
  NO_TEMP_KEY,
  secretOf,
  slotConfigOf,
  slotLocked,
  type TempKey,
} from "./device.ts";
import { checkMacDigest, deriveKeyMac, digest96, hmacDigest, macDigest, u8, u16, zeros } from "./digests.ts";
import {
  dataLocked,
  noPrivate,
  notNoMac,
  notOpen,
  notSlotLocked,
  only,
  reqAuth,
  reqRandom,
  slotOf,
  sourceMatches,
  tempKeyValid,
  unvalidate,
} from "./gates.ts";
import { always, BOTH, bytes, type Command, MISCOMPARE, OK, ONLY_508, type Rules, status, when } from "./rules.ts";

/** Commands that compute with the secret of a slot: MAC, HMAC, CheckMac, GenDig, DeriveKey. */

const tempKeyInMessage = ({ mode }: Command): boolean => (mode & 0b11) !== 0;
const tempKeyIsSecond = ({ mode }: Command): boolean => (mode & 0b01) !== 0;
const usesSlot = ({ mode }: Command): boolean => (mode & 0b10) === 0;

const mac: Rules = {
  name: "MAC",
  opcode: 0x08,
  models: BOTH,
  accepts: ({ mode, data }) => only(mode, 0b0111_0111) && data.length === (mode & 1 ? 0 : 32),
  conditions: [
    ...when(tempKeyInMessage, tempKeyValid, sourceMatches),
    ...when(usesSlot, dataLocked, noPrivate(slotOf), notNoMac(slotOf)),
    ...when(usesSlot, reqRandom(slotOf, tempKeyIsSecond), reqAuth(slotOf)),
  ],
  limited: (command) => (usesSlot(command) ? command.param2 & 15 : undefined),
  spendsTempKey: always,
  perform: (command, device, tempKey) => {
    const { mode, param2, data } = command;
    const first = usesSlot(command) ? secretOf(device, param2 & 15) : tempKey.value.subarray(0, 32);
    const second = tempKeyIsSecond(command) ? tempKey.value.subarray(0, 32) : data;
    return bytes(macDigest(device, mode, param2, first, second));
  },
};

const hmac: Rules = {
  name: "HMAC",
  opcode: 0x11,
  models: ONLY_508,
  accepts: ({ mode, data }) => only(mode, 0b0111_0100) && data.length === 0,
  conditions: [
    tempKeyValid,
    sourceMatches,
    dataLocked,
    noPrivate(slotOf),
    notNoMac(slotOf),
    reqRandom(slotOf),
    reqAuth(slotOf),
  ],
  limited: ({ param2 }) => param2 & 15,
  spendsTempKey: always,
  perform: ({ mode, param2 }, device, tempKey) =>
    bytes(hmacDigest(device, mode, param2, secretOf(device, param2 & 15), tempKey.value)),
};

const checkMac: Rules = {
  name: "CheckMac",
  opcode: 0x28,
  models: BOTH,
  accepts: ({ mode, param2, data }) => only(mode, 0b0010_0111) && param2 < 16 && data.length === 77,
  conditions: [
    ...when(tempKeyInMessage, tempKeyValid, sourceMatches),
    ...when(usesSlot, dataLocked, noPrivate(slotOf)),
    ...when(usesSlot, reqRandom(slotOf, tempKeyIsSecond), reqAuth(slotOf)),
  ],
  limited: (command) => (usesSlot(command) ? command.param2 : undefined),
  spendsTempKey: always,
  perform: (command, device, tempKey) => {
    const { mode, param2: slot, data } = command;
    if (!equal(checkMacResponse(command, device, tempKey), data.subarray(32, 64))) {
      device.auth = { valid: false, keyId: 0 };
      return status(MISCOMPARE);
    }
    if ((mode & 0b11) === 1 && tempKey.source === 0) device.auth = { valid: true, keyId: slot };
    if (copies(command, device)) {
      device.tempKey = { ...NO_TEMP_KEY, valid: true, value: secretOf(device, slot + 1).slice(), source: 1 };
    }
    return status(OK);
  },
};

/** CheckMac with copy: mode 1 or 5, an even slot, and a next slot that says so. */
function copies({ mode, param2: slot }: Command, device: Device): boolean {
  if ((mode !== 1 && mode !== 5) || slot % 2 === 1) return false;
  return slotConfigOf(device, slot + 1).readKey === 0 && !keyConfigOf(device, slot + 1).private;
}

/** What the response in a CheckMac has to be. */
export function checkMacResponse(command: Command, device: Device, tempKey: TempKey): Uint8Array {
  const held = tempKey.value.subarray(0, 32);
  return checkMacDigest(
    device,
    command.mode,
    usesSlot(command) ? secretOf(device, command.param2 & 15) : held,
    tempKeyIsSecond(command) ? held : command.data.subarray(0, 32),
    command.data.subarray(64, 77),
  );
}

const GENDIG_LAST: readonly number[] = [3, 1, 15, 0xffff, 1, 15];
const isZone =
  (...zones: readonly number[]) =>
  (command: Command) =>
    zones.includes(command.mode);

const genDig: Rules = {
  name: "GenDig",
  opcode: 0x15,
  models: BOTH,
  accepts: ({ mode: zone, param2, data }) => {
    if (param2 > (GENDIG_LAST[zone] ?? -1)) return false;
    if (zone === 3) return data.length === 32;
    return data.length === 0 || (zone === 2 && data.length === 4);
  },
  conditions: [
    tempKeyValid,
    ...when(isZone(1, 2), notOpen),
    ...when(
      isZone(2),
      {
        rule: "4 bytes are there exactly for a NoMac slot",
        holds: ({ param2, data }, device) => (data.length === 4) === slotConfigOf(device, param2).noMac,
      },
      noPrivate(slotOf),
      reqRandom(slotOf),
      reqAuth(slotOf),
    ),
  ],
  limited: ({ mode: zone, param2 }) => (zone === 2 ? param2 : undefined),
  perform: (command, device, tempKey) => {
    const { mode: zone, param2 } = command;
    const ofSlot = zone === 2;
    device.tempKey = {
      ...tempKey,
      value: genDigDigest(command, device, tempKey.value.subarray(0, 32)),
      genDig: ofSlot,
      genKey: false,
      noMac: ofSlot && slotConfigOf(device, param2).noMac,
      keyId: ofSlot ? param2 : 0,
    };
    return status(OK);
  },
};

function genDigDigest({ mode: zone, param2, data }: Command, device: Device, tempKey: Uint8Array): Uint8Array {
  const header = u8(0x15, zone, ...u16(param2));
  switch (zone) {
    case 0:
      return digest96(device, device.config.subarray(32 * param2, 32 * param2 + 32), header, tempKey);
    case 1:
      return digest96(device, device.otp.subarray(32 * param2, 32 * param2 + 32), header, tempKey);
    case 2:
      return digest96(device, secretOf(device, param2), slotConfigOf(device, param2).noMac ? data : header, tempKey);
    case 3: {
      const [value, tail] = param2 & 0x8000 ? [tempKey, data] : [data, tempKey];
      return digest96(device, value, u8(0x15, 3, param2 & 0xff, 0), tail);
    }
    case 4: {
      const counter = counterValue(device.config, param2 === 0 ? 0 : 1);
      const filler = concat(u8(0), u16(counter & 0xffff), u16(counter >>> 16), zeros(20));
      return digest96(device, zeros(32), header, tempKey, filler);
    }
    default: {
      const slotConfig = device.config.subarray(AT.slotConfig + 2 * param2, AT.slotConfig + 2 * param2 + 2);
      const keyConfig = device.config.subarray(AT.keyConfig + 2 * param2, AT.keyConfig + 2 * param2 + 2);
      // As in the config zone, a SlotLocked of 1 means that the slot is not locked.
      const filler = concat(u8(0), slotConfig, keyConfig, u8(slotLocked(device, param2) ? 0 : 1), zeros(19));
      return digest96(device, zeros(32), header, tempKey, filler);
    }
  }
}

/** DeriveKey of SlotConfig.WriteConfig, where bit 14 does not matter. */
const DERIVATIONS: Record<number, { create: boolean; mac: boolean }> = {
  2: { create: false, mac: false },
  10: { create: false, mac: true },
  3: { create: true, mac: false },
  11: { create: true, mac: true },
};

const derivationOf = ({ param2 }: Command, device: Device) =>
  DERIVATIONS[slotConfigOf(device, param2 & 15).writeConfig & 0b1011];

/** The slot a new key is derived from. */
export function parentOf(command: Command, device: Device): number {
  const target = command.param2 & 15;
  return derivationOf(command, device)?.create ? slotConfigOf(device, target).writeKey : target;
}

const deriveKey: Rules = {
  name: "DeriveKey",
  opcode: 0x1c,
  models: BOTH,
  accepts: ({ mode, param2, data }) => only(mode, 0b100) && param2 < 16 && (data.length === 0 || data.length === 32),
  conditions: [
    { ...dataLocked, rule: "DeriveKey: locked" },
    tempKeyValid,
    sourceMatches,
    {
      rule: "WriteConfig roll or create",
      holds: (command, device) => derivationOf(command, device) !== undefined,
    },
    ...when((command, device) => derivationOf(command, device) !== undefined, {
      rule: "a MAC is there exactly if WriteConfig wants one",
      holds: (command, device) => (command.data.length === 32) === derivationOf(command, device)?.mac,
    }),
    { ...noPrivate(slotOf), rule: "target is no private slot" },
    { ...noPrivate(parentOf), rule: "parent is no private slot" },
    { ...notSlotLocked(slotOf), rule: "target not slot-locked" },
    reqRandom(parentOf),
    reqAuth(parentOf),
  ],
  limited: parentOf,
  spendsTempKey: always,
  perform: (command, device, tempKey) => {
    const { mode, param2: target, data } = command;
    const parent = secretOf(device, parentOf(command, device)).slice();
    if (data.length === 32 && !equal(deriveKeyMac(device, parent, mode, target), data)) return status(MISCOMPARE);
    const header = u8(0x1c, mode, ...u16(target));
    secretOf(device, target).set(digest96(device, parent, header, tempKey.value.subarray(0, 32)));
    unvalidate(device, target);
    return status(OK);
  },
};

export const secretCommands: readonly Rules[] = [mac, hmac, checkMac, genDig, deriveKey];
