import { isPublic, type SlotPolicy, slotPolicy } from "../config.ts";
import { header, sha256, validationDigest } from "../digests.ts";
import { mayUse } from "../gates.ts";
import { ioKey } from "../io-protection.ts";
import { verify as ecdsaVerify, isOnCurve } from "../p256.ts";
import type { Packet } from "../packet.ts";
import { holdsUsablePublicKey, markPublicKey, publicKey } from "../slots.ts";
import { STATUS } from "../status.ts";
import { tempKeyValue } from "../volatile-state.ts";
import { type Answer, type Command, SLOTS, type Unit } from "./command.ts";

const MODE = { STORED: 0, EXTERNAL: 2, VALIDATE: 3, INVALIDATE: 7 } as const;
/** param2 of the external mode: the curve P-256. */
const P256 = 4;
/** 608. */
const FROM_MESSAGE_DIGEST_BUFFER = 0x20;
const ANSWER_MAC = 0x80;

/** ATECC508A, Verify. Data: R ‖ S (64), then the public key (64) or OtherData (19). */
export const verify: Command = {
  name: "Verify",
  opcode: 0x45,
  forms: [
    { param1: [MODE.STORED], param2: SLOTS, data: [64] },
    { param1: [MODE.EXTERNAL], param2: [P256], data: [128] },
    { param1: [MODE.VALIDATE, MODE.INVALIDATE], param2: SLOTS, data: [83] },
    { model: "608a", param1: [0x20, 0x80, 0xa0], param2: SLOTS, data: [64] },
    { model: "608a", param1: [0x22, 0x82, 0xa2], param2: [P256], data: [128] },
  ],
  spendsTempKey: true,
  run(unit, packet) {
    const mode = packet.param1 & 7;
    if (mode === MODE.VALIDATE || mode === MODE.INVALIDATE) return validate(unit, packet);
    return verifyMessage(unit, packet);
  },
};

/** Stored and external. */
function verifyMessage(unit: Unit, packet: Packet): Answer {
  const { memory, state } = unit;
  const { param1, param2: slot, data } = packet;
  const stored = (param1 & 7) === MODE.STORED;
  const fromBuffer = (param1 & FROM_MESSAGE_DIGEST_BUFFER) !== 0;
  const buffer = state.messageDigestBuffer;
  if (param1 & (FROM_MESSAGE_DIGEST_BUFFER | ANSWER_MAC)) state.messageDigestBuffer = undefined;
  const message = fromBuffer ? buffer?.subarray(0, 32) : tempKeyValue(state);
  if (!message) return STATUS.EXECUTION_ERROR;
  if (stored && !(mayUse(unit, slot, "Verify", true) && holdsUsablePublicKey(memory, slotPolicy(memory, slot)))) {
    return STATUS.EXECUTION_ERROR;
  }
  // The host's nonce is in the part of the Message Digest Buffer that the message leaves free.
  const hostNonce = fromBuffer ? buffer?.subarray(32, 64) : buffer?.subarray(0, 32);
  const key = ioKey(unit);
  const withMac = (param1 & ANSWER_MAC) !== 0;
  if (withMac && (!key || hostNonce?.length !== 32)) return STATUS.EXECUTION_ERROR;

  const signature = data.subarray(0, 64);
  const outcome = check(unit, message, signature, stored ? publicKey(memory, slot) : data.subarray(64));
  if (outcome !== STATUS.OK) return outcome;
  if (stored && !fromBuffer && state.tempKey.sourceFlag === 0) state.authKeyId = slot;
  return withMac && key && hostNonce ? sha256(key, message, hostNonce, signature, header(packet)) : STATUS.OK;
}

function validate(unit: Unit, { param1, param2: slot, data }: Packet): Answer {
  const { memory, state } = unit;
  const policy = slotPolicy(memory, slot);
  const tempKey = tempKeyValue(state);
  const parent = slotPolicy(memory, policy.readKey);
  if (!tempKey || !state.tempKey.genKeyData || state.tempKey.keyId !== slot) return STATUS.EXECUTION_ERROR;
  if (!mayUse(unit, slot, "Verify", true) || !mayBeValidated(policy) || !holdsUsablePublicKey(memory, parent)) {
    return STATUS.EXECUTION_ERROR;
  }
  const message = validationDigest(memory, tempKey, data.subarray(64));
  const outcome = check(unit, message, data.subarray(0, 64), publicKey(memory, parent.slot));
  if (outcome === STATUS.OK) markPublicKey(memory, slot, param1 === MODE.VALIDATE ? "valid" : "invalid");
  return outcome;
}

function mayBeValidated(policy: SlotPolicy): boolean {
  return isPublic(policy) && policy.pubInfo && !policy.locked;
}

/** A signature that is not right ends the authorisation. */
function check(unit: Unit, message: Uint8Array, signature: Uint8Array, point: Uint8Array): number {
  if (!isOnCurve(point)) return STATUS.ECC_FAULT;
  if (ecdsaVerify(message, signature, point)) return STATUS.OK;
  unit.state.authKeyId = undefined;
  return STATUS.MISCOMPARE;
}
