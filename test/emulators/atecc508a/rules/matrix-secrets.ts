import type { Case } from "./cases.ts";
import type { Model, Stage } from "./device.ts";
import { noisySlot, YES_NO } from "./noise.ts";
import { product, type Random } from "./random.ts";
import { AUTH_SLOT, KEY_SLOT, NOMAC_SLOT, type Setup, type SlotSetup } from "./setup.ts";
import {
  AUTHORISATION,
  checkMac,
  deriveKey,
  genDig,
  genDigOf,
  genKeyOf,
  mac,
  nonceFixed,
  nonceRandom,
  plain,
  type Step,
  TEMPKEY,
} from "./steps.ts";

/** The matrix of MAC, HMAC, CheckMac, GenDig and DeriveKey. */

export const STAGES: readonly Stage[] = ["open", "configured", "locked"];
const SLOTS = [0, 2, 6, 9, 10, 12, 15];
const FOUR_TEMPKEYS: readonly (readonly Step[])[] = [
  [],
  [nonceRandom],
  [nonceFixed()],
  genDigOf("random", KEY_SLOT),
  genDigOf("fixed", NOMAC_SLOT, Uint8Array.of(0x15, 2, 7, 0)),
];
const AUTH_SHORT = ["auth none", "auth right", "auth with another key"].map((name) => AUTHORISATION[name] ?? []);
const AUTH_ALL = Object.values(AUTHORISATION);

const GATES = { private: YES_NO, noMac: YES_NO, reqRandom: YES_NO, reqAuth: YES_NO };
type GateBits = { private: boolean; noMac: boolean; reqRandom: boolean; reqAuth: boolean };

function gated(random: Random, { noMac, ...key }: GateBits): SlotSetup {
  return noisySlot(random, { noMac }, { ...key, authKey: AUTH_SLOT });
}

/** MAC with every combination of the bits that choose what is hashed; the bits of OTP and SN are left to chance. */
export function* macMatrix(random: Random, model: Model): Generator<Case> {
  const axes = { source: [0, 1, 2, 3, 4, 5, 6, 7], stage: STAGES, tempKey: FOUR_TEMPKEYS, auth: AUTH_SHORT, ...GATES };
  for (const { source, stage, tempKey, auth, ...gates } of product(axes)) {
    if (auth.length > 0 && !gates.reqAuth && random.chance(0.8)) continue;
    const slot = random.pick(SLOTS);
    const setup = { model, stage, slots: { [slot]: gated(random, gates) } };
    const mode = source | (random.integer(8) << 4);
    yield { setup, prelude: [...auth, ...tempKey], step: mac(mode, slot | (random.integer(0x1000) << 4)) };
  }
}

/** The digests of MAC: all 64 modes, twice, so that every part of the message is seen to matter. */
export function* macDigests(random: Random, model: Model): Generator<Case> {
  for (const { mode, slot } of product({
    mode: Array.from({ length: 128 }, (_, mode) => mode & 0x77),
    slot: [2, 15],
  })) {
    const setup: Setup = { model, stage: "locked", slots: { [slot]: noisySlot(random, {}, { keyType: 7 }) } };
    yield { setup, prelude: [mode & 4 ? nonceFixed() : nonceRandom], step: mac(mode, slot) };
  }
}

export function* hmacMatrix(random: Random): Generator<Case> {
  const axes = { mode: [0, 4], stage: STAGES, tempKey: FOUR_TEMPKEYS, auth: AUTH_SHORT, ...GATES };
  for (const { mode, stage, tempKey, auth, ...gates } of product(axes)) {
    const slot = random.pick(SLOTS);
    const setup: Setup = { model: "508a", stage, slots: { [slot]: gated(random, gates) } };
    const param2 = slot | (random.integer(0x1000) << 4);
    yield { setup, prelude: [...auth, ...tempKey], step: plain(0x11, mode | (random.integer(8) << 4), param2) };
  }
}

export function* checkMacMatrix(random: Random, model: Model): Generator<Case> {
  const axes = {
    source: [0, 1, 2, 3, 4, 5, 6, 7],
    right: YES_NO,
    stage: STAGES,
    tempKey: FOUR_TEMPKEYS,
    auth: AUTH_SHORT,
    ...GATES,
  };
  for (const { source, right, stage, tempKey, auth, ...gates } of product(axes)) {
    if (random.chance(stage === "locked" ? 0.3 : 0.75)) continue;
    const slot = random.pick(SLOTS);
    const setup = { model, stage, slots: { [slot]: gated(random, gates) } };
    const mode = source | (random.integer(2) << 5);
    yield { setup, prelude: [...auth, ...tempKey], step: checkMac(mode, slot, right) };
  }
}

/** CheckMac with copy: the next slot decides. */
export function* checkMacCopies(random: Random, model: Model): Generator<Case> {
  const modes = [0, 1, 2, 3, 4, 5, 6, 7, 0x20, 0x21, 0x25];
  for (const { mode, slot, readKey, isPrivate, right } of product({
    mode: modes,
    slot: [2, 8, 9, 14, 15],
    readKey: [0, 0, 1, 8, 15],
    isPrivate: YES_NO,
    right: [true, true, false],
  })) {
    const slots: Record<number, SlotSetup> = { [slot]: noisySlot(random, {}, {}) };
    if (slot < 15) slots[slot + 1] = noisySlot(random, { readKey }, { private: isPrivate });
    const setup: Setup = { model, stage: "locked", slots };
    yield { setup, prelude: [mode & 4 ? nonceFixed() : nonceRandom], step: checkMac(mode, slot, right) };
  }
}

export function* genDigMatrix(random: Random, model: Model): Generator<Case> {
  const tempKeys = [...FOUR_TEMPKEYS, genKeyOf("random", 13)];
  for (const { stage, tempKey, auth, fits, ...gates } of product({
    stage: STAGES,
    tempKey: tempKeys,
    auth: AUTH_ALL,
    fits: [true, true, false],
    ...GATES,
  })) {
    if (auth.length > 0 && !gates.reqAuth) continue;
    const slot = random.pick(SLOTS);
    const setup = { model, stage, slots: { [slot]: gated(random, gates) } };
    const other = new Uint8Array(gates.noMac === fits ? 4 : 0).fill(0x55);
    yield { setup, prelude: [...auth, ...tempKey], step: genDig(slot, other) };
  }
}

/** GenDig of the other zones, inside and outside their limits. */
export function* genDigZones(random: Random, model: Model): Generator<Case> {
  const params = [0, 1, 2, 3, 4, 5, 14, 15, 16, 0x100, 0x8000, 0x8003, 0xffff];
  for (const { zone, param2, stage, tempKey } of product({
    zone: [0, 1, 3, 4, 5, 6],
    param2: params,
    stage: STAGES,
    tempKey: [...Object.values(TEMPKEY), ...FOUR_TEMPKEYS, genKeyOf("fixed", 13)],
  })) {
    const counters = [random.integer(2 ** 21), random.integer(2 ** 21)] as const;
    const setup: Setup = { model, stage, counters, slots: { 4: noisySlot(random, {}, {}) } };
    const data = random.bytes(zone === 3 ? 32 : random.chance(0.95) ? 0 : 4);
    yield { setup, prelude: tempKey, step: plain(0x15, zone, param2, data) };
  }
}

/** DeriveKey: every WriteConfig, both parents, with and without its MAC. */
export function* deriveKeyMatrix(random: Random, model: Model): Generator<Case> {
  const parents: readonly Partial<GateBits>[] = [
    {},
    { private: true },
    { reqRandom: true },
    { reqAuth: true },
    { noMac: true },
  ];
  for (const { writeConfig, mode, mac, stage, tempKey, target, parent, auth } of product({
    writeConfig: Array.from({ length: 16 }, (_, value) => value),
    mode: [0, 4],
    mac: ["none", "right", "wrong"] as const,
    stage: ["locked", "locked", "locked", "configured", "open"] as const,
    tempKey: FOUR_TEMPKEYS.slice(0, 4),
    target: ["plain", "plain", "private", "slot-locked"],
    parent: parents,
    auth: AUTH_SHORT.slice(0, 2),
  })) {
    const derives = (writeConfig & 0b1011) >= 0b0010 && (writeConfig & 0b0010) !== 0;
    if (random.chance(stage !== "locked" ? 0.98 : derives ? 0.82 : 0.97)) continue;
    const at = random.pick([0, 2, 6, 9, 12, 15]);
    const parentSlot = random.pick([4, 10, 11]);
    const targetSetup = noisySlot(
      random,
      { writeConfig, writeKey: parentSlot, ...(writeConfig & 1 ? {} : { noMac: parent.noMac ?? false }) },
      { private: target === "private", authKey: AUTH_SLOT, ...(writeConfig & 1 ? {} : gatesOfKey(parent)) },
      { locked: target === "slot-locked" },
    );
    const parentSetup = noisySlot(
      random,
      { noMac: parent.noMac ?? false },
      { authKey: AUTH_SLOT, ...gatesOfKey(parent) },
    );
    const setup = { model, stage, slots: { [at]: targetSetup, [parentSlot]: parentSetup } };
    yield { setup, prelude: [...auth, ...tempKey], step: deriveKey(mode, at, mac) };
  }
}

const gatesOfKey = ({ noMac: _, ...key }: Partial<GateBits>): Partial<GateBits> => key;

/** Every way to be authorised, or not, before a command that wants it. */
export function* authorisations(random: Random, model: Model): Generator<Case> {
  for (const { auth, authKey, tempKey, kind } of product({
    auth: AUTH_ALL,
    authKey: [AUTH_SLOT, AUTH_SLOT + 2, 0],
    tempKey: [[nonceRandom], [nonceFixed()]],
    kind: ["mac", "mac of TempKey", "check", "gendig", "derive", "sha"],
  })) {
    const slot = random.pick(SLOTS);
    const key = noisySlot(random, { writeConfig: 0b0010 }, { reqAuth: true, authKey, keyType: 7 }, { locked: false });
    const setup: Setup = { model, stage: "locked", slots: { [slot]: key } };
    const source = tempKey[0] === nonceRandom ? 0 : 4;
    const steps: Record<string, Step> = {
      mac: mac(0, slot),
      "mac of TempKey": mac(1 | source, slot),
      check: checkMac(1 | source, slot, random.chance(0.7)),
      gendig: genDig(slot),
      derive: deriveKey(source, slot, "none"),
      sha: plain(0x47, 4, slot),
    };
    yield { setup, prelude: [...auth, ...tempKey], step: steps[kind] ?? mac(0, slot) };
  }
}

/** LimitedUse at, before and after its limit; `slot` 15 is the one that counts on the 508. */
export function* limitedUses(random: Random): Generator<Case> {
  const uses = [new Uint8Array(16), one(0), one(127), one(60), new Uint8Array(16).fill(0xff), random.bytes(16)];
  for (const { lastKeyUse, slot, limitedUse, kind, granted, repeat } of product({
    lastKeyUse: uses,
    slot: [9, 15],
    limitedUse: YES_NO,
    kind: ["mac", "hmac", "check", "check wrong", "gendig", "roll", "create", "sha", "update extra"],
    granted: [true, true, false],
    repeat: [0, 1],
  })) {
    const key = noisySlot(
      random,
      { limitedUse, writeConfig: 0b0010 },
      { private: !granted, keyType: 7 },
      { locked: false },
    );
    const child = noisySlot(random, { writeConfig: 0b0011, writeKey: slot }, { private: false }, { locked: false });
    const setup: Setup = { model: "508a", stage: "locked", lastKeyUse, slots: { [slot]: key, 4: child } };
    const steps: Record<string, Step> = {
      mac: mac(0, slot),
      hmac: plain(0x11, 0, slot),
      check: checkMac(0, slot),
      "check wrong": checkMac(1, slot, false),
      gendig: genDig(slot),
      roll: deriveKey(0, slot, "none"),
      create: deriveKey(0, 4, "none"),
      sha: plain(0x47, 4, slot),
      "update extra": plain(0x20, 2, slot),
    };
    const step = steps[kind] ?? mac(0, slot);
    const twice = repeat === 1 ? [nonceRandom, step] : [];
    yield { setup, prelude: [...twice, nonceRandom], step };
  }
}

function one(use: number): Uint8Array {
  const bits = new Uint8Array(16);
  bits[use >> 3] = 0x80 >> (use & 7);
  return bits;
}
