import { concat } from "../../../bytes/bytes.ts";
import { encryptBlock } from "../aes.ts";
import { CONFIG, chipOptions, isAesEnabled, slotPolicy, stage } from "../config.ts";
import { hmacSha256, zeros } from "../digests.ts";
import { mayUse, takeUse, type Use } from "../gates.ts";
import { ioKey, protectedOutput } from "../io-protection.ts";
import { SLOT_SIZES } from "../memory.ts";
import type { Packet } from "../packet.ts";
import { allows, type Destination } from "../protection.ts";
import { slotBytes, storeInSlot } from "../slots.ts";
import { STATUS } from "../status.ts";
import { loadTempKey, tempKeyValue } from "../volatile-state.ts";
import { ANY, type Answer, bitsOf, type Command, type Unit } from "./command.ts";

/** Mode b1:0. */
const SOURCE = { TEMP_KEY: 0, TEMP_KEY_UPPER: 1, SLOT: 2, ALTERNATE_KEY_BUFFER: 3 } as const;
/** Mode b4:2. */
const TARGET = {
  TEMP_KEY: 0,
  TEMP_KEY_UPPER: 1,
  SLOT: 2,
  ALTERNATE_KEY_BUFFER: 3,
  OUTPUT: 4,
  ENCRYPTED_OUTPUT: 5,
} as const;
/** Mode b6:5. */
const ALGORITHM = { PRF: 0, AES: 1, HKDF: 2 } as const;

/** Details, 4 bytes LE. Bits 31:24 are the length of the message. */
const PRF_DETAILS = { KEY_LENGTH: 0x3, TARGET_64: 0x100 } as const;
const AES_DETAILS = { KEY_LOCATION: 0x3 } as const;
const HKDF_DETAILS = { MESSAGE: 0x3, ZERO_KEY: 0x4 } as const;
const HKDF_MESSAGE = { TEMP_KEY: 1, INPUT: 2, INPUT_WITH_IV: 3 } as const;

const LONGEST_MESSAGE = 128;

interface Request {
  readonly source: number;
  readonly target: number;
  readonly algorithm: number;
  readonly details: number;
  readonly messageLength: number;
  readonly message: Uint8Array;
  /** param2, low byte. */
  readonly sourceSlot: number;
  /** param2, high byte. */
  readonly targetSlot: number;
}

/** ATECC608A, KDF. Data: details (4) ‖ message. */
export const kdf: Command = {
  name: "KDF",
  opcode: 0x56,
  forms: [{ model: "608a", param1: bitsOf(0x7f), param2: ANY, data: [[4, 4 + LONGEST_MESSAGE]], also: isPossible }],
  run(unit, packet) {
    const request = taken(packet);
    const destination = destinationOf(request);
    const key = keyOf(unit, request);
    const message = messageOf(unit, request);
    const { memory } = unit;
    if (!key || !message || !allows(chipOptions(memory).kdfProtection, destination)) return STATUS.EXECUTION_ERROR;
    if (request.algorithm === ALGORITHM.AES && !(isAesEnabled(memory) && chipOptions(memory).kdfAesEnable)) {
      return STATUS.EXECUTION_ERROR;
    }
    if (!mayDeliver(unit, request, destination)) return STATUS.EXECUTION_ERROR;
    const { source, sourceSlot } = request;
    if (source === SOURCE.SLOT && !takeUse(unit, sourceSlot, useOf(request))) return STATUS.EXECUTION_ERROR;
    return deliver(unit, request, derived(request, key, message));
  },
};

function taken({ param1, param2, data }: Packet): Request {
  const details = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  return {
    source: param1 & 3,
    target: (param1 >> 2) & 7,
    algorithm: (param1 >> 5) & 3,
    details: details & 0xffffff,
    messageLength: details >>> 24,
    message: data.subarray(4),
    sourceSlot: param2 & 0xff,
    targetSlot: param2 >> 8,
  };
}

function isPossible(packet: Packet): boolean {
  const request = taken(packet);
  const { source, target, sourceSlot, targetSlot } = request;
  if (target > TARGET.ENCRYPTED_OUTPUT) return false;
  if (source === SOURCE.SLOT && sourceSlot > 15) return false;
  if (target === TARGET.SLOT && (targetSlot > 15 || (SLOT_SIZES[targetSlot] ?? 0) < lengthOf(request))) return false;
  if ((target === TARGET.TEMP_KEY_UPPER || target === TARGET.ALTERNATE_KEY_BUFFER) && lengthOf(request) > 32)
    return false;
  return hasPossibleDetails(request);
}

function hasPossibleDetails({ algorithm, details, messageLength, message }: Request): boolean {
  const only = (bits: number) => (details & ~bits) === 0;
  switch (algorithm) {
    case ALGORITHM.PRF:
      return only(PRF_DETAILS.KEY_LENGTH | PRF_DETAILS.TARGET_64) && messageLength === message.length;
    case ALGORITHM.AES:
      return only(AES_DETAILS.KEY_LOCATION) && message.length === 16 && (messageLength === 0 || messageLength === 16);
    case ALGORITHM.HKDF: {
      if (!only(HKDF_DETAILS.MESSAGE | HKDF_DETAILS.ZERO_KEY)) return false;
      const location = details & HKDF_DETAILS.MESSAGE;
      if (location === HKDF_MESSAGE.TEMP_KEY) return message.length === 0 && messageLength <= 64;
      return location >= HKDF_MESSAGE.INPUT && messageLength === message.length;
    }
    default:
      return false;
  }
}

/** Bytes of result. */
function lengthOf({ algorithm, details }: Request): number {
  return algorithm === ALGORITHM.PRF && details & PRF_DETAILS.TARGET_64 ? 64 : 32;
}

function destinationOf({ target }: Request): Destination {
  if (target === TARGET.OUTPUT) return "output";
  if (target === TARGET.ENCRYPTED_OUTPUT) return "encrypted output";
  return target === TARGET.SLOT ? "slot" : "TempKey";
}

/** PRF and HKDF are HMACs under the key, which is what NoMac forbids. */
function useOf({ algorithm }: Request): Use {
  return algorithm === ALGORITHM.AES ? "KDF" : "KDFWithMac";
}

/** @returns undefined when the source is not there, not long enough or not to be used */
function keyOf(unit: Unit, request: Request): Uint8Array | undefined {
  const { algorithm, details } = request;
  const source = sourceBytes(unit, request);
  if (!source) return undefined;
  const [offset, length] = range();
  if (source.length < offset + length) return undefined;
  return algorithm === ALGORITHM.HKDF && details & HKDF_DETAILS.ZERO_KEY
    ? zeros(32)
    : source.subarray(offset, offset + length);

  function range(): [number, number] {
    if (algorithm === ALGORITHM.PRF) return [0, [16, 32, 48, 64][details & PRF_DETAILS.KEY_LENGTH] ?? 0];
    return algorithm === ALGORITHM.AES ? [16 * (details & AES_DETAILS.KEY_LOCATION), 16] : [0, 32];
  }
}

function sourceBytes(unit: Unit, request: Request): Uint8Array | undefined {
  const { memory, state } = unit;
  const tempKey = state.tempKey.valid && !state.tempKey.isPrivateKey ? state.tempKey.value : undefined;
  switch (request.source) {
    case SOURCE.TEMP_KEY:
      return tempKey;
    case SOURCE.TEMP_KEY_UPPER:
      return tempKey?.subarray(32);
    case SOURCE.SLOT:
      return mayUse(unit, request.sourceSlot, useOf(request), false)
        ? slotBytes(memory, request.sourceSlot)
        : undefined;
    default:
      return state.alternateKeyBuffer;
  }
}

function messageOf(unit: Unit, { algorithm, details, messageLength, message }: Request): Uint8Array | undefined {
  if (algorithm !== ALGORITHM.HKDF) return message;
  switch (details & HKDF_DETAILS.MESSAGE) {
    case HKDF_MESSAGE.TEMP_KEY: {
      const value = tempKeyValue(unit.state) && unit.state.tempKey.value;
      return value && value.length >= messageLength ? value.subarray(0, messageLength) : undefined;
    }
    case HKDF_MESSAGE.INPUT_WITH_IV:
      return hasIv(unit, message) ? message : undefined;
    default:
      return message;
  }
}

/** KdfIvStr must be in the message at KdfIvLoc. */
function hasIv({ memory: { config } }: Unit, message: Uint8Array): boolean {
  const location = config[CONFIG.KDF_IV_LOC] ?? 0;
  return message[location] === config[CONFIG.KDF_IV_STR] && message[location + 1] === config[CONFIG.KDF_IV_STR + 1];
}

function derived(request: Request, key: Uint8Array, message: Uint8Array): Uint8Array {
  if (request.algorithm === ALGORITHM.AES) return concat(encryptBlock(key, message), zeros(16));
  if (request.algorithm === ALGORITHM.HKDF) return hmacSha256(key, message);
  return prf(key, message, lengthOf(request));
}

/** P_SHA256 of TLS 1.2 (RFC 5246, 5): the message is label and seed. */
function prf(secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  let a = hmacSha256(secret, seed);
  let result = hmacSha256(secret, a, seed);
  while (result.length < length) {
    a = hmacSha256(secret, a);
    result = concat(result, hmacSha256(secret, a, seed));
  }
  return result;
}

function mayDeliver(unit: Unit, { target, targetSlot }: Request, destination: Destination): boolean {
  const { memory, state } = unit;
  if (destination === "encrypted output") return ioKey(unit) !== undefined;
  if (target === TARGET.TEMP_KEY_UPPER) return tempKeyValue(state) !== undefined;
  if (destination !== "slot") return true;
  const { private: isPrivate, locked, writeConfig } = slotPolicy(memory, targetSlot);
  // What is written comes from whoever asks: as with Write, only a slot that is open to clear writes takes it.
  return stage(memory) === "locked" && !isPrivate && !locked && writeConfig === 0;
}

function deliver(unit: Unit, { target, targetSlot }: Request, result: Uint8Array): Answer {
  const { memory, state } = unit;
  switch (target) {
    case TARGET.TEMP_KEY:
      loadTempKey(state, result, 1);
      return STATUS.OK;
    case TARGET.TEMP_KEY_UPPER:
      loadTempKey(state, concat(state.tempKey.value.subarray(0, 32), result), 1);
      return STATUS.OK;
    case TARGET.ALTERNATE_KEY_BUFFER:
      state.alternateKeyBuffer = result;
      return STATUS.OK;
    case TARGET.SLOT:
      storeInSlot(memory, targetSlot, 0, result);
      return STATUS.OK;
    case TARGET.ENCRYPTED_OUTPUT: {
      const key = ioKey(unit);
      return key ? protectedOutput(unit, key, result) : STATUS.EXECUTION_ERROR;
    }
    default:
      return result;
  }
}
