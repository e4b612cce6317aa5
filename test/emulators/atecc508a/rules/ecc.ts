import { concat, equal } from "../../../../src/bytes/bytes.ts";
import { onCurve, publicKeyIn, publicKeyOf, scalarIn, sharedSecret, verifies } from "./curve.ts";
import {
  AT,
  type Device,
  keyConfigOf,
  NO_TEMP_KEY,
  secretOf,
  slotBytes,
  slotConfigOf,
  slotLocked,
  stageOf,
  type TempKey,
  WRITE_CONFIG_BIT_13,
} from "./device.ts";
import { publicKeyDigest, serial, sha256, u8, u16, zeros } from "./digests.ts";
import {
  dataLocked,
  eccPrivate,
  isPublicSlot,
  nibbleOf,
  notOpen,
  notSlotLocked,
  publicKeyValidated,
  publicSlot,
  reqAuth,
  reqRandom,
  setNibble,
  slotOf,
  tempKeyValid,
  unvalidate,
  validPrivateKey,
} from "./gates.ts";
import {
  type Answer,
  always,
  BOTH,
  bytes,
  type Command,
  type Condition,
  ECC_FAULT,
  MISCOMPARE,
  OK,
  type Rules,
  status,
  when,
} from "./rules.ts";

/** Commands on the curve: GenKey, Sign, Verify, ECDH. */

const inTempKey = ({ param2 }: Command): boolean => param2 === 0xffff;
const creates = ({ mode, param2 }: Command): boolean => (mode === 0x04 || mode === 0x0c) && param2 !== 0xffff;
const recomputes = ({ mode }: Command): boolean => mode === 0x00 || mode === 0x08;
const digests = ({ mode }: Command): boolean => (mode & 0x18) !== 0;
const ofPublicKey = ({ mode }: Command): boolean => mode === 0x10;

const genKey: Rules = {
  name: "GenKey",
  opcode: 0x40,
  models: BOTH,
  accepts: ({ mode, param2, data }, { model }) => {
    if (param2 === 0xffff && model === "608a") return mode === 0x04 && data.length === 0;
    if (param2 > 15 || ![0x00, 0x04, 0x08, 0x0c, 0x10].includes(mode)) return false;
    return data.length === (mode === 0x10 ? 3 : 0);
  },
  conditions: [
    { ...notOpen, rule: "GenKey: not while open" },
    ...when(creates, eccPrivate, notSlotLocked(slotOf), {
      rule: "WriteConfig bit 13 when locked",
      holds: ({ param2 }, device) =>
        stageOf(device) !== "locked" || (slotConfigOf(device, param2).writeConfig & WRITE_CONFIG_BIT_13) !== 0,
    }),
    ...when(
      recomputes,
      eccPrivate,
      { rule: "PubInfo", holds: ({ param2 }, device) => keyConfigOf(device, param2).pubInfo },
      validPrivateKey,
    ),
    ...when(ofPublicKey, publicSlot(slotOf)),
    ...when(digests, tempKeyValid, reqRandom(slotOf)),
    ...when((command) => !inTempKey(command), reqAuth(slotOf)),
  ],
  perform: (command, device) => {
    if (inTempKey(command)) {
      device.tempKey = { ...NO_TEMP_KEY, valid: true, source: 1, isPrivateKey: true };
      return { kind: "learn", length: 64, learn: (point) => (onCurve(point) ? undefined : "not a point of the curve") };
    }
    const slot = slotBytes(device, command.param2);
    if (ofPublicKey(command)) {
      digestPublicKey(command, device, publicKeyIn(slot));
      return status(OK);
    }
    if (recomputes(command)) {
      const point = publicKeyOf(scalarIn(slot));
      if (digests(command)) digestPublicKey(command, device, point);
      return bytes(point);
    }
    return {
      kind: "learn",
      length: 64,
      learn: (point, seen) => {
        const before = scalarIn(slot);
        slot.set((seen.slots[command.param2] ?? slot).subarray(0, 36));
        if (digests(command)) digestPublicKey(command, device, point);
        if (equal(before, scalarIn(slot))) return "the private key in the slot did not change";
        return equal(publicKeyOf(scalarIn(slot)), point) ? undefined : "not the public key of what the slot now holds";
      },
    };
  },
};

function digestPublicKey({ mode, param2, data }: Command, device: Device, point: Uint8Array): void {
  const { tempKey } = device;
  const header = data.length === 3 ? concat(u8(0x40), data) : u8(0x40, mode, ...u16(param2));
  device.tempKey = {
    ...tempKey,
    value: publicKeyDigest(device, tempKey.value.subarray(0, 32), header, point),
    genKey: true,
    genDig: false,
    keyId: param2,
  };
}

const SIGN_MODES = { "508a": [0x80, 0x00, 0x01, 0x40, 0x41], "608a": [0x80, 0x00, 0x01, 0x40, 0x41, 0xa0] };
const isExternal = ({ mode }: Command): boolean => (mode & 0x80) !== 0;
const fromMessageDigest = ({ mode }: Command): boolean => (mode & 0x20) !== 0;
const allowsInReadKey = (index: number) => (command: Command, device: Device) =>
  ((slotConfigOf(device, slotOf(command, device)).readKey >> index) & 1) === 1;

const messageValid: Condition = {
  rule: "message valid",
  holds: (command, { tempKey, messageDigest }) =>
    fromMessageDigest(command) ? messageDigest !== "absent" : tempKey.valid,
};

/** The 608's Message Digest Buffer, where the documents leave open whether it is still there. */
const bufferUnknown = (command: Command, { messageDigest }: Device): boolean =>
  fromMessageDigest(command) && messageDigest === "unknown";

const sign: Rules = {
  name: "Sign",
  opcode: 0x41,
  models: BOTH,
  accepts: ({ mode, param2, data }, { model }) => SIGN_MODES[model].includes(mode) && param2 < 16 && data.length === 0,
  conditions: [
    dataLocked,
    eccPrivate,
    validPrivateKey,
    ...when(isExternal, { rule: "ReadKey bit 0: external sign", holds: allowsInReadKey(0) }),
    ...when((command) => !isExternal(command), { rule: "ReadKey bit 1: internal sign", holds: allowsInReadKey(1) }),
    messageValid,
    ...when((command) => !isExternal(command), {
      rule: "internal sign: GenDigData or GenKeyData",
      holds: (_, { tempKey }) => tempKey.genDig || tempKey.genKey,
    }),
    reqRandom(slotOf, (command) => !fromMessageDigest(command)),
    reqAuth(slotOf),
  ],
  limited: ({ param2 }) => param2,
  spendsTempKey: always,
  isOpen: bufferUnknown,
  perform: (command, device, tempKey): Answer => {
    const message = signedMessage(command, device, tempKey);
    const point = publicKeyOf(scalarIn(slotBytes(device, command.param2)));
    takeMessage(command, device);
    return {
      kind: "learn",
      length: 64,
      learn: (signature) => (verifies(signature, message, point) ? undefined : "the signature does not verify"),
    };
  },
};

/** The Message Digest Buffer is used up by the Sign or Verify that takes it. */
function takeMessage(command: Command, device: Device): void {
  if (fromMessageDigest(command)) device.messageDigest = "absent";
}

function heldMessage(command: Command, device: Device, tempKey: TempKey): Uint8Array {
  const held = fromMessageDigest(command) ? device.messageDigest : tempKey.value;
  return typeof held === "string" ? zeros(32) : held.slice(0, 32);
}

/** The digest that a signature is of. */
function signedMessage(command: Command, device: Device, tempKey: TempKey): Uint8Array {
  if (isExternal(command)) return heldMessage(command, device, tempKey);
  const { keyId } = tempKey;
  const flags =
    keyId |
    (tempKey.source << 4) |
    (tempKey.genDig ? 0x20 : 0) |
    (tempKey.genKey ? 0x40 : 0) |
    (tempKey.noMac ? 0x80 : 0);
  const wholeSerial = (command.mode & 0x40) !== 0;
  const validBit = isPublicSlot(device, keyId) && nibbleOf(device, keyId) === 5 ? 1 : 0;
  return sha256(
    tempKey.value.subarray(0, 32),
    u8(0x41, command.mode, ...u16(command.param2)),
    device.config.subarray(AT.slotConfig + 2 * keyId, AT.slotConfig + 2 * keyId + 2),
    device.config.subarray(AT.keyConfig + 2 * keyId, AT.keyConfig + 2 * keyId + 2),
    u8(flags, 0, 0),
    serial(device, 8, 8),
    wholeSerial ? serial(device, 4, 7) : zeros(4),
    serial(device, 0, 1),
    wholeSerial ? serial(device, 2, 3) : zeros(2),
    u8(slotLocked(device, keyId) ? 0 : 1, validBit, 0),
  );
}

const kindOf = ({ mode }: Command): number => mode & 0b111;
const isStored = (command: Command): boolean => kindOf(command) === 0;
const isValidation = (command: Command): boolean => kindOf(command) === 3 || kindOf(command) === 7;
const VERIFY_DATA: Record<number, number> = { 0: 64, 2: 128, 3: 83, 7: 83 };

/** The slot of the key that validates the key in a public slot. */
const validatorOf = (command: Command, device: Device): number => slotConfigOf(device, slotOf(command, device)).readKey;

const verify: Rules = {
  name: "Verify",
  opcode: 0x45,
  models: BOTH,
  accepts: (command, { model }) => {
    const { mode, param2, data } = command;
    const buffers = model === "608a" && (isStored(command) || kindOf(command) === 2) ? 0xa0 : 0;
    if ((mode & ~(0b111 | buffers)) !== 0 || data.length !== VERIFY_DATA[kindOf(command)]) return false;
    return kindOf(command) === 2 ? param2 === 4 : param2 < 16;
  },
  conditions: [
    ...when((command) => kindOf(command) !== 2, dataLocked),
    messageValid,
    ...when((command) => kindOf(command) !== 2, publicSlot(slotOf)),
    ...when(isStored, publicKeyValidated(slotOf)),
    ...when(
      isValidation,
      { rule: "validate: PubInfo", holds: ({ param2 }, device) => keyConfigOf(device, param2).pubInfo },
      notSlotLocked(slotOf),
      {
        rule: "validate: GenKeyData with KeyID = slot",
        holds: ({ param2 }, { tempKey }) => tempKey.genKey && tempKey.keyId === param2,
      },
      publicSlot(validatorOf, "validate: the parent is a public slot"),
      publicKeyValidated(validatorOf, "validate: the parent is valid, if it has PubInfo"),
    ),
  ],
  spendsTempKey: always,
  isOpen: (command, device) => (command.mode & 0x80) !== 0 || bufferUnknown(command, device),
  perform: (command, device, tempKey): Answer => {
    const message = isValidation(command)
      ? validationMessage(command, device, tempKey.value)
      : heldMessage(command, device, tempKey);
    takeMessage(command, device);
    const point = verifyingKey(command, device);
    if (!onCurve(point)) return status(ECC_FAULT);
    if (!verifies(command.data.slice(0, 64), message, point)) {
      device.auth = { valid: false, keyId: 0 };
      return status(MISCOMPARE);
    }
    // A message from the buffer of the 608 was given by the host: it says nothing about freshness.
    const fresh = tempKey.source === 0 && !fromMessageDigest(command);
    if (isStored(command) && fresh) device.auth = { valid: true, keyId: command.param2 };
    if (isValidation(command)) setNibble(device, command.param2, kindOf(command) === 3 ? 0x5 : 0xa);
    return status(OK);
  },
};

function verifyingKey(command: Command, device: Device): Uint8Array {
  if (kindOf(command) === 2) return command.data.slice(64);
  const slot = isStored(command) ? command.param2 : validatorOf(command, device);
  return publicKeyIn(slotBytes(device, slot));
}

/** What the parent has signed, when a key is validated or invalidated. */
export function validationMessage({ data }: Command, device: Device, tempKey: Uint8Array): Uint8Array {
  const other = data.subarray(64, 83);
  return sha256(
    tempKey.subarray(0, 32),
    u8(0x41),
    other.subarray(0, 10),
    serial(device, 8, 8),
    other.subarray(10, 14),
    serial(device, 0, 1),
    other.subarray(14, 19),
  );
}

const intoNextSlot = allowsInReadKey(3);

/** b0 the key is in TempKey, b1 output encrypted, b3:2 to: 0 as the slot says, 1 the slot, 2 TempKey, 3 the bus. */
const ECDH_MODES_608 = [0x0, 0x1, 0x2, 0x3, 0x4, 0x8, 0x9, 0xc, 0xd, 0xe, 0xf];

const ecdh: Rules = {
  name: "ECDH",
  opcode: 0x43,
  models: BOTH,
  accepts: ({ mode, param2, data }, { model }) =>
    (model === "508a" ? mode === 0 : ECDH_MODES_608.includes(mode)) && param2 < 16 && data.length === 64,
  conditions: [
    dataLocked,
    eccPrivate,
    validPrivateKey,
    { rule: "ReadKey bit 2: ECDH", holds: allowsInReadKey(2) },
    ...when(intoNextSlot, { rule: "ECDH into slot + 1: slot even", holds: ({ param2 }) => param2 % 2 === 0 }),
    ...when(
      (command, device) => intoNextSlot(command, device) && command.param2 % 2 === 0,
      { rule: "ECDH into slot + 1: not private", holds: ({ param2 }, d) => !keyConfigOf(d, param2 + 1).private },
      { rule: "ECDH into slot + 1: not slot-locked", holds: ({ param2 }, d) => !slotLocked(d, param2 + 1) },
    ),
    reqAuth(slotOf),
  ],
  limited: ({ param2 }) => param2,
  isOpen: ({ mode }) => mode !== 0,
  perform: (command, device) => {
    if (!onCurve(command.data)) return status(ECC_FAULT);
    const shared = sharedSecret(scalarIn(slotBytes(device, command.param2)), command.data);
    if (!intoNextSlot(command, device)) return bytes(shared);
    secretOf(device, command.param2 | 1).set(shared);
    unvalidate(device, command.param2 | 1);
    return status(OK);
  },
};

export const curveCommands: readonly Rules[] = [genKey, sign, verify, ecdh];
