import { concat } from "../../../bytes/bytes.ts";
import { isEccPrivate, isPublic, slotPolicy, stage } from "../config.ts";
import { header, keyedDigest, zeros } from "../digests.ts";
import { mayUse } from "../gates.ts";
import { publicKeyOf } from "../p256.ts";
import type { Packet } from "../packet.ts";
import { privateKey, publicKey, storePrivateKey } from "../slots.ts";
import { STATUS } from "../status.ts";
import { loadTempKey, tempKeyValue } from "../volatile-state.ts";
import { type Answer, type Command, NOTHING, SLOTS, type Unit } from "./command.ts";

const CREATE = 0x04;
const DIGEST = 0x08;
const DIGEST_OF_STORED = 0x10;
/** 608: the private key goes to TempKey. */
const INTO_TEMP_KEY = 0xffff;
/** SlotConfig bit 13. */
const WRITE_CONFIG_GEN_KEY = 0b0010;

/** ATECC508A, GenKey. */
export const genKey: Command = {
  name: "GenKey",
  opcode: 0x40,
  forms: [
    { param1: [0, CREATE, DIGEST, CREATE | DIGEST], param2: SLOTS, data: NOTHING },
    { param1: [DIGEST_OF_STORED], param2: SLOTS, data: [3] },
    { model: "608a", param1: [CREATE], param2: [INTO_TEMP_KEY], data: NOTHING },
  ],
  run(unit, packet) {
    const { memory, state } = unit;
    const { param1: mode, param2: slot } = packet;
    if (stage(memory) === "open") return STATUS.EXECUTION_ERROR;
    if (slot === INTO_TEMP_KEY) return createInTempKey(unit);

    const digests = mode !== 0 && mode !== CREATE;
    if (digests && !tempKeyValue(state)) return STATUS.EXECUTION_ERROR;
    if (!mayUse(unit, slot, digests ? "GenKeyDigest" : "GenKey", true)) return STATUS.EXECUTION_ERROR;

    const point = mode === DIGEST_OF_STORED ? storedPublicKey(unit, slot) : publicKeyFor(unit, slot, mode);
    if (!point) return STATUS.EXECUTION_ERROR;
    if (digests) digestIntoTempKey(unit, packet, point);
    return mode === DIGEST_OF_STORED ? STATUS.OK : point;
  },
};

function createInTempKey({ state, freshKeyPair }: Unit): Answer {
  const { scalar, point } = freshKeyPair();
  loadTempKey(state, scalar, 1);
  state.tempKey.isPrivateKey = true;
  return Uint8Array.from(point);
}

function storedPublicKey({ memory }: Unit, slot: number): Uint8Array | undefined {
  return isPublic(slotPolicy(memory, slot)) ? publicKey(memory, slot) : undefined;
}

/** Of a new key (b2), or of the stored one. */
function publicKeyFor({ memory, freshKeyPair }: Unit, slot: number, mode: number): Uint8Array | undefined {
  const policy = slotPolicy(memory, slot);
  if (!isEccPrivate(policy)) return undefined;
  if (mode & CREATE) {
    if (policy.locked) return undefined;
    if (stage(memory) === "locked" && !(policy.writeConfig & WRITE_CONFIG_GEN_KEY)) return undefined;
    const { scalar, point } = freshKeyPair();
    storePrivateKey(memory, slot, scalar);
    return Uint8Array.from(point);
  }
  const scalar = policy.pubInfo ? privateKey(memory, slot) : undefined;
  return scalar && publicKeyOf(scalar);
}

function digestIntoTempKey({ memory, state }: Unit, packet: Packet, point: Uint8Array): void {
  const { opcode, param1, param2, data } = packet;
  const purpose = param1 === DIGEST_OF_STORED ? concat(Uint8Array.of(opcode), data) : header(packet);
  state.tempKey = {
    ...state.tempKey,
    value: keyedDigest(memory, state.tempKey.value.subarray(0, 32), purpose, zeros(25), point),
    genKeyData: true,
    genDigData: false,
    keyId: param2,
  };
}
