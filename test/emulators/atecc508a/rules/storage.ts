import { equal, xor } from "../../../../src/bytes/bytes.ts";
import { isScalar, scalarIn } from "./curve.ts";
import {
  AT,
  bit,
  type Device,
  keyConfigOf,
  SLOT_SIZES,
  slotBytes,
  slotConfigOf,
  stageOf,
  WRITE_CONFIG_BIT_14,
} from "./device.ts";
import { privWriteMac, privWriteStream, writeMac } from "./digests.ts";
import {
  eccPrivate,
  isGenDigOf,
  nibbleOf,
  notOpen,
  notSlotLocked,
  only,
  slotOf,
  tempKeyOfWriteKey,
  unvalidate,
} from "./gates.ts";
import { always, BOTH, bytes, type Command, OK, type Rules, status, when } from "./rules.ts";

/** Commands on the content of memory: Read, Write, PrivWrite. */

const isWide = ({ mode }: Command): boolean => bit(mode, 7);
const zoneOf = ({ mode }: Command): number => mode & 0b11;
const inData = (command: Command): boolean => zoneOf(command) === 2;
const inOtp = (command: Command): boolean => zoneOf(command) === 1;
const inConfig = (command: Command): boolean => zoneOf(command) === 0;
const inStage = (stage: string) => (_: Command, device: Device) => stageOf(device) === stage;
const dataSlot = ({ param2 }: Command): number => (param2 >> 3) & 15;

/** Where an address points, or undefined when it is outside the zone. */
export function placeOf({ mode, param2 }: Command): { slot: number; offset: number; size: number } | undefined {
  const wide = bit(mode, 7);
  if (wide && (param2 & 7) !== 0) return undefined;
  const zone = mode & 0b11;
  if (zone < 2) {
    const size = zone === 0 ? 128 : 64;
    return param2 * 4 < size ? { slot: -1, offset: param2 * 4, size } : undefined;
  }
  if (bit(param2, 7)) return undefined;
  const slot = (param2 >> 3) & 15;
  const size = SLOT_SIZES[slot] ?? 0;
  const offset = 32 * (param2 >> 8) + 4 * (param2 & 7);
  return offset < size ? { slot, offset, size } : undefined;
}

function zoneBytes(command: Command, device: Device): Uint8Array {
  if (inConfig(command)) return device.config;
  return inOtp(command) ? device.otp : slotBytes(device, dataSlot(command));
}

const encryptedRead = (command: Command, device: Device): boolean =>
  inData(command) && slotConfigOf(device, dataSlot(command)).isSecret;

const read: Rules = {
  name: "Read",
  opcode: 0x02,
  models: BOTH,
  accepts: (command) => {
    const place = placeOf(command);
    if (!place || !only(command.mode, 0b1000_0011) || zoneOf(command) === 3 || command.data.length > 0) return false;
    return place.offset + (isWide(command) ? 32 : 4) <= place.size;
  },
  conditions: [
    ...when(inOtp, { rule: "OTP is read only when locked", holds: inStage("locked") }),
    ...when(
      inData,
      { rule: "data is read only when locked", holds: inStage("locked") },
      {
        rule: "a private slot is never read",
        holds: (command, device) => !keyConfigOf(device, dataSlot(command)).private,
      },
      {
        rule: "IsSecret = EncryptRead",
        holds: (command, device) => {
          const { isSecret, encryptRead } = slotConfigOf(device, dataSlot(command));
          return isSecret === encryptRead;
        },
      },
    ),
    ...when(
      encryptedRead,
      { rule: "encrypted read: 32 bytes", holds: isWide },
      {
        rule: "encrypted read: TempKey valid, SourceFlag 0, GenDigData, KeyID = ReadKey, not NoMacFlag",
        holds: (command, device) =>
          isGenDigOf(device, slotConfigOf(device, dataSlot(command)).readKey) && device.tempKey.source === 0,
      },
    ),
  ],
  spendsTempKey: encryptedRead,
  perform: (command, device, tempKey) => {
    const offset = placeOf(command)?.offset ?? 0;
    const plain = zoneBytes(command, device).slice(offset, offset + (isWide(command) ? 32 : 4));
    return bytes(encryptedRead(command, device) ? xor(plain, tempKey.value) : plain);
  },
};

const hasMac = ({ data }: Command): boolean => data.length === 64;
const inDataWhenLocked = (command: Command, device: Device): boolean => inData(command) && stageOf(device) === "locked";

/** WriteConfig as Write sees it. */
function writeWanted(device: Device, slot: number): "clear" | "clear while not valid" | "encrypted" | "never" {
  const { writeConfig } = slotConfigOf(device, slot);
  if (writeConfig & WRITE_CONFIG_BIT_14) return "encrypted";
  if (writeConfig === 0b0000) return "clear";
  return writeConfig === 0b0001 ? "clear while not valid" : "never";
}

/** Bytes of the config zone that Write may change before the config lock. */
const isWritableConfig = (at: number): boolean => (at >= 16 && at <= 83) || (at >= 88 && at <= 127);

/** The 32 bytes of an encrypted write as they were before encryption. */
const decrypted = ({ data }: Command, tempKey: Uint8Array): Uint8Array => xor(data.subarray(0, 32), tempKey);

const write: Rules = {
  name: "Write",
  opcode: 0x12,
  models: BOTH,
  accepts: (command) => {
    const { mode, data } = command;
    if (!placeOf(command) || !only(mode, 0b1100_0011) || zoneOf(command) === 3) return false;
    if (bit(mode, 6) && !hasMac(command)) return false;
    if (!isWide(command)) return data.length === 4;
    return data.length === 32 || (inData(command) && hasMac(command));
  },
  conditions: [
    ...when(
      inConfig,
      { rule: "config is written only while open", holds: inStage("open") },
      {
        rule: "config bytes 16-83 and 88-127",
        holds: (command) => {
          const first = command.param2 * 4;
          return Array.from(command.data, (_, at) => first + at).every(isWritableConfig);
        },
      },
    ),
    ...when(
      inOtp,
      { ...notOpen, rule: "OTP is not written while open" },
      {
        rule: "OTP: 32 bytes while configured",
        holds: (command, device) => stageOf(device) === "locked" || isWide(command),
      },
      {
        rule: "OTP when locked: only the 508 in mode 55",
        holds: (_, device) =>
          stageOf(device) !== "locked" || (device.model === "508a" && device.config[AT.otpMode] === 0x55),
      },
    ),
    ...when(
      inData,
      { ...notOpen, rule: "data is not written while open" },
      {
        rule: "Write never changes a private slot",
        holds: (command, device) => !keyConfigOf(device, dataSlot(command)).private,
      },
      notSlotLocked(dataSlot),
      { rule: "data: 32 bytes while configured", holds: (c, device) => stageOf(device) === "locked" || isWide(c) },
    ),
    ...when(inDataWhenLocked, {
      rule: "WriteConfig",
      holds: (command, device) => {
        const slot = dataSlot(command);
        const wanted = writeWanted(device, slot);
        if (wanted === "encrypted" || wanted === "never") return wanted === "encrypted" && hasMac(command);
        return !hasMac(command) && (wanted === "clear" || nibbleOf(device, slot) !== 5);
      },
    }),
    ...when(
      hasMac,
      {
        rule: tempKeyOfWriteKey.rule,
        holds: (command, device) => isGenDigOf(device, slotConfigOf(device, dataSlot(command)).writeKey),
      },
      {
        rule: "Write: MAC right",
        holds: (command, device) => {
          const { value } = device.tempKey;
          const mac = writeMac(device, value, command.mode, command.param2, decrypted(command, value));
          return equal(mac, command.data.subarray(32));
        },
      },
    ),
  ],
  spendsTempKey: hasMac,
  perform: (command, device, tempKey) => {
    const { offset = 0, size = 0 } = placeOf(command) ?? {};
    const plain = hasMac(command) ? decrypted(command, tempKey.value) : command.data;
    const target = zoneBytes(command, device);
    const consuming = inOtp(command) && stageOf(device) === "locked";
    for (const [at, byte] of plain.subarray(0, size - offset).entries()) {
      target[offset + at] = consuming ? (target[offset + at] ?? 0) & byte : byte;
    }
    if (inData(command)) unvalidate(device, dataSlot(command));
    return status(OK);
  },
};

const isEncrypted = ({ mode }: Command): boolean => mode === 0x40;
const privatePlain = ({ data }: Command, tempKey: Uint8Array): Uint8Array =>
  xor(data.subarray(0, 36), privWriteStream(tempKey.subarray(0, 32)));
const writtenKey = (command: Command, device: Device): Uint8Array =>
  isEncrypted(command) ? privatePlain(command, device.tempKey.value) : command.data.subarray(0, 36);

const privWrite: Rules = {
  name: "PrivWrite",
  opcode: 0x46,
  models: BOTH,
  accepts: ({ mode, param2, data }) => only(mode, 0x40) && param2 < 16 && data.length === 68,
  conditions: [
    { ...notOpen, rule: "PrivWrite: not while open" },
    eccPrivate,
    notSlotLocked(slotOf),
    {
      rule: "PrivWrite in clear: only while configured",
      holds: (command, device) => isEncrypted(command) || stageOf(device) !== "locked",
    },
    ...when(
      isEncrypted,
      {
        rule: "WriteConfig bit 14 when locked",
        holds: ({ param2 }, device) =>
          stageOf(device) !== "locked" || (slotConfigOf(device, param2).writeConfig & WRITE_CONFIG_BIT_14) !== 0,
      },
      tempKeyOfWriteKey,
      {
        rule: "PrivWrite: MAC right",
        holds: (command, device) => {
          const { value } = device.tempKey;
          const mac = privWriteMac(device, value, command.mode, command.param2, privatePlain(command, value));
          return equal(mac, command.data.subarray(36));
        },
      },
    ),
    { rule: "key from 1 to n-1", holds: (command, device) => isScalar(scalarIn(writtenKey(command, device))) },
  ],
  spendsTempKey: always,
  perform: (command, device, tempKey) => {
    const plain = writtenKey(command, { ...device, tempKey });
    slotBytes(device, command.param2).set(plain);
    return status(OK);
  },
};

export const storageCommands: readonly Rules[] = [read, write, privWrite];
