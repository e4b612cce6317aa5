import { concat, toHex, xor } from "../../../../src/bytes/bytes.ts";
import { sign } from "./curve.ts";
import { type Device, secretOf } from "./device.ts";
import { deriveKeyMac, privWriteMac, privWriteStream, writeMac, zeros } from "./digests.ts";
import { validationMessage } from "./ecc.ts";
import type { Command } from "./rules.ts";
import { checkMacResponse, parentOf } from "./secrets.ts";
import { AUTH_SLOT, hostKey } from "./setup.ts";

/** One thing done to the chip. Commands are made when they are sent: a right MAC depends on what TempKey holds then. */
export type Step =
  | { readonly label: string; readonly event: "idle" | "sleep" }
  | { readonly label: string; readonly command: (device: Device) => Command; readonly damage?: Damage };

/** How a packet is spoilt on its way. */
export type Damage = "crc" | "count too small" | "count too large" | "byte missing";

const NAMES: Record<number, string> = {
  1: "Pause",
  2: "Read",
  8: "MAC",
  17: "HMAC",
  18: "Write",
  21: "GenDig",
  22: "Nonce",
  23: "Lock",
  27: "Random",
  28: "DeriveKey",
  32: "UpdateExtra",
  36: "Counter",
  40: "CheckMac",
  48: "Info",
  64: "GenKey",
  65: "Sign",
  67: "ECDH",
  69: "Verify",
  70: "PrivWrite",
  71: "SHA",
};

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");

export function label(opcode: number, mode: number, param2: number, note: string): string {
  return `${NAMES[opcode] ?? `opcode ${hex(opcode, 2)}`} mode ${hex(mode, 2)} param2 ${hex(param2, 4)} ${note}`.trim();
}

/** A command whose data do not depend on the state of the chip. */
export function plain(opcode: number, mode: number, param2 = 0, data: Uint8Array = zeros(0), damage?: Damage): Step {
  const note = data.length > 0 ? `${data.length} bytes (${toHex(data.subarray(0, 4))}…)` : "";
  const step = { label: label(opcode, mode, param2, note), command: () => ({ opcode, mode, param2, data }) };
  return damage ? { ...step, label: `${step.label}, packet damaged: ${damage}`, damage } : step;
}

/** A command whose data are computed from the state, rightly or with one bit changed. */
function computed(
  opcode: number,
  mode: number,
  param2: number,
  right: boolean,
  data: (device: Device, unfinished: Command) => { data: Uint8Array; bit: number },
): Step {
  return {
    label: label(opcode, mode, param2, right ? "with the right data" : "with wrong data"),
    command: (device) => {
      const made = data(device, { opcode, mode, param2, data: zeros(0) });
      const sent = made.data.slice();
      if (!right) sent[made.bit >> 3] = (sent[made.bit >> 3] ?? 0) ^ (1 << (made.bit & 7));
      return { opcode, mode, param2, data: sent };
    },
  };
}

const challenge = Uint8Array.from({ length: 32 }, (_, at) => 0x40 + at);

export const idle: Step = { label: "idle and wake", event: "idle" };
export const sleep: Step = { label: "sleep and wake", event: "sleep" };

export const nonceRandom = plain(0x16, 0x00, 0, challenge.subarray(0, 20));
export const nonceFixed = (value: Uint8Array = challenge): Step => plain(0x16, 0x03, 0, value);
export const genDig = (slot: number, other: Uint8Array = zeros(0)): Step => plain(0x15, 2, slot, other);
export const mac = (mode: number, param2: number): Step => plain(0x08, mode, param2, mode & 1 ? zeros(0) : challenge);

export const checkMac = (mode: number, slot: number, right = true): Step =>
  computed(0x28, mode, slot, right, (device, unfinished) => {
    const other = Uint8Array.from({ length: 13 }, (_, at) => 0x91 + at);
    const data = concat(challenge, zeros(32), other);
    data.set(checkMacResponse({ ...unfinished, data }, device, device.tempKey), 32);
    return { data, bit: 8 * 47 };
  });

export const deriveKey = (mode: number, target: number, mac: "none" | "right" | "wrong"): Step =>
  mac === "none"
    ? plain(0x1c, mode, target)
    : computed(0x1c, mode, target, mac === "right", (device, unfinished) => ({
        data: deriveKeyMac(device, secretOf(device, parentOf(unfinished, device)), mode, target),
        bit: 255,
      }));

/** @param wrong what to spoil: the ciphertext and its MAC no longer fit */
export const writeEncrypted = (mode: number, address: number, value: Uint8Array, right = true): Step =>
  computed(0x12, mode, address, right, (device) => {
    const key = device.tempKey.value.subarray(0, 32);
    return { data: concat(xor(value, key), writeMac(device, key, mode, address, value)), bit: 8 * 40 };
  });

export const privWrite = (mode: number, slot: number, scalar: Uint8Array, right = true): Step =>
  computed(0x46, mode, slot, right, (device) => {
    const value = concat(zeros(4), scalar);
    if (mode === 0) return { data: concat(value, zeros(32)), bit: 8 * 60 };
    const key = device.tempKey.value.subarray(0, 32);
    return {
      data: concat(xor(value, privWriteStream(key)), privWriteMac(device, key, mode, slot, value)),
      bit: 8 * 60,
    };
  });

/** @param signer number of the host key that signs what TempKey (or the 608's buffer) holds */
export const verifyStored = (slot: number, signer: number, right = true, mode = 0): Step =>
  computed(0x45, mode, slot, right, (device) => ({
    data: sign(messageOf(device, mode), hostKey(signer)),
    bit: 8 * 20,
  }));

export const verifyExternal = (point: Uint8Array, signer: number, right = true, mode = 2): Step =>
  computed(0x45, mode, 4, right, (device) => ({
    data: concat(sign(messageOf(device, mode), hostKey(signer)), point),
    bit: 8 * 20,
  }));

export const validate = (mode: 3 | 7, slot: number, signer: number, right = true): Step =>
  computed(0x45, mode, slot, right, (device, unfinished) => {
    const other = Uint8Array.from({ length: 19 }, (_, at) => 0x21 + at);
    const message = validationMessage({ ...unfinished, data: concat(zeros(64), other) }, device, device.tempKey.value);
    return { data: concat(sign(message, hostKey(signer)), other), bit: 8 * 20 };
  });

function messageOf({ tempKey, messageDigest }: Device, mode: number): Uint8Array {
  if (!(mode & 0x20)) return tempKey.value.subarray(0, 32);
  return typeof messageDigest === "string" ? zeros(32) : messageDigest.subarray(0, 32);
}

/** How TempKey is brought to a state, by name. */
export const TEMPKEY: Record<string, readonly Step[]> = {
  "TempKey none": [],
  "TempKey random": [nonceRandom],
  "TempKey fixed": [nonceFixed()],
  "TempKey used up": [nonceRandom, mac(0x03, 0)],
};

/** TempKey after GenDig of a slot. */
export const genDigOf = (source: "random" | "fixed", slot: number, other?: Uint8Array): readonly Step[] => [
  source === "random" ? nonceRandom : nonceFixed(),
  genDig(slot, other),
];

/** TempKey with GenKeyData, from the public key in a slot. */
export const genKeyOf = (source: "random" | "fixed", slot: number): readonly Step[] => [
  source === "random" ? nonceRandom : nonceFixed(),
  plain(0x40, 0x10, slot, Uint8Array.of(0x10, slot, 0)),
];

/** What the chip knows of authorisation, by name. TempKey is gone afterwards. */
export const AUTHORISATION: Record<string, readonly Step[]> = {
  "auth none": [],
  "auth right": [nonceRandom, checkMac(1, AUTH_SLOT)],
  "auth with another key": [nonceRandom, checkMac(1, AUTH_SLOT + 2)],
  "auth, then miscompare": [nonceRandom, checkMac(1, AUTH_SLOT), checkMac(0, AUTH_SLOT, false)],
  "auth, then idle": [nonceRandom, checkMac(1, AUTH_SLOT), idle],
  "auth, then sleep": [nonceRandom, checkMac(1, AUTH_SLOT), sleep],
  "auth with a fixed TempKey": [nonceFixed(), checkMac(5, AUTH_SLOT)],
  "auth without TempKey": [checkMac(0, AUTH_SLOT)],
};
