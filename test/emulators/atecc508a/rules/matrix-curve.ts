import { concat } from "../../../../src/bytes/bytes.ts";
import type { Case } from "./cases.ts";
import { publicKeyOf } from "./curve.ts";
import type { Model } from "./device.ts";
import { zeros } from "./digests.ts";
import { STAGES } from "./matrix-secrets.ts";
import { noisySlot, YES_NO } from "./noise.ts";
import { product, type Random } from "./random.ts";
import { AUTH_PUBLIC_SLOT, AUTH_SLOT, type Content, hostKey, KEY_SLOT, type Setup, VALIDATOR_SLOT } from "./setup.ts";
import {
  AUTHORISATION,
  genDigOf,
  genKeyOf,
  nonceFixed,
  nonceRandom,
  plain,
  type Step,
  validate,
  verifyExternal,
  verifyStored,
} from "./steps.ts";

/** The matrix of GenKey, Sign, Verify and ECDH. What succeeds is dear, so most of it refuses by one bit only. */

const AUTH = ["auth none", "auth right", "auth with another key"].map((name) => AUTHORISATION[name] ?? []);
const TEMPKEYS: readonly (readonly Step[])[] = [
  [],
  [nonceRandom],
  [nonceFixed()],
  genDigOf("random", KEY_SLOT),
  genDigOf("fixed", KEY_SLOT),
  genKeyOf("random", VALIDATOR_SLOT),
];
const PRIVATE_CONTENT: readonly Content[] = [
  "private key",
  "private key",
  "private key",
  "private key 0",
  "private key n",
];
const PUBLIC_CONTENT: readonly Content[] = ["public key", "public key", "public key not valid", "public key off curve"];

export function* genKeyMatrix(random: Random, model: Model): Generator<Case> {
  for (const {
    mode,
    stage,
    isPrivate,
    keyType,
    pubInfo,
    locked,
    tempKey,
    auth,
    reqAuth,
    reqRandom,
    writeConfig,
  } of product({
    mode: [0x00, 0x04, 0x08, 0x0c, 0x10],
    stage: STAGES,
    isPrivate: YES_NO,
    keyType: [4, 4, 7],
    pubInfo: YES_NO,
    locked: YES_NO,
    tempKey: TEMPKEYS.slice(0, 5),
    auth: AUTH,
    reqAuth: YES_NO,
    reqRandom: YES_NO,
    writeConfig: [0b0010, 0b1101],
  })) {
    if (auth.length > 0 && (!reqAuth || stage !== "locked")) continue;
    if (random.chance(stage === "open" ? 0.95 : 0.75)) continue;
    const slot = mode === 0x10 ? random.pick([2, 8, 9, 12]) : random.pick([0, 2, 6, 9, 15]);
    const content: Content = isPrivate
      ? random.pick(PRIVATE_CONTENT)
      : slot > 8
        ? random.pick(PUBLIC_CONTENT)
        : "secret";
    const keyFields = { private: isPrivate, keyType, pubInfo, reqAuth, reqRandom, authKey: AUTH_SLOT };
    const key = noisySlot(random, { writeConfig }, keyFields, { locked, content });
    const data = mode === 0x10 ? random.bytes(3) : zeros(0);
    yield {
      setup: { model, stage, slots: { [slot]: key } },
      prelude: [...auth, ...tempKey],
      step: plain(0x40, mode, slot, data),
    };
  }
}

export function* signMatrix(random: Random, model: Model): Generator<Case> {
  for (const { mode, stage, isPrivate, keyType, readKey, tempKey, auth, reqAuth, reqRandom } of product({
    mode: [0x80, 0x00, 0x01, 0x40, 0x41],
    stage: STAGES,
    isPrivate: [true, true, false],
    keyType: [4, 4, 7],
    readKey: [0b0001, 0b0010, 0b1100, 0b1111],
    tempKey: TEMPKEYS,
    auth: AUTH,
    reqAuth: YES_NO,
    reqRandom: YES_NO,
  })) {
    if (auth.length > 0 && (!reqAuth || stage !== "locked")) continue;
    if (random.chance(stage !== "locked" ? 0.95 : 0.7)) continue;
    const slot = random.pick([0, 2, 6, 9, 12, 15]);
    const content = random.pick(PRIVATE_CONTENT);
    const keyFields = { private: isPrivate, keyType, reqAuth, reqRandom, authKey: AUTH_SLOT };
    const key = noisySlot(random, { readKey }, keyFields, { content });
    yield {
      setup: { model, stage, slots: { [slot]: key } },
      prelude: [...auth, ...tempKey],
      step: plain(0x41, mode, slot),
    };
  }
}

export function* ecdhMatrix(random: Random, model: Model): Generator<Case> {
  const point = publicKeyOf(hostKey(200));
  const off = point.map((byte, at) => (at === 40 ? byte ^ 4 : byte));
  for (const { stage, isPrivate, keyType, readKey, slot, next, auth, reqAuth, data, content } of product({
    stage: STAGES,
    isPrivate: [true, true, false],
    keyType: [4, 4, 7],
    readKey: [0b0100, 0b1100, 0b0011, 0b1000, 0b0111],
    slot: [2, 9, 12],
    next: ["plain", "private", "slot-locked"],
    auth: AUTH,
    reqAuth: YES_NO,
    data: [point, off, zeros(64)],
    content: PRIVATE_CONTENT.slice(2),
  })) {
    if (auth.length > 0 && (!reqAuth || stage !== "locked")) continue;
    if (random.chance(stage !== "locked" ? 0.97 : 0.85)) continue;
    const key = noisySlot(
      random,
      { readKey },
      { private: isPrivate, keyType, reqAuth, authKey: AUTH_SLOT, reqRandom: random.chance(0.5) },
      { content },
    );
    const nextKey = noisySlot(random, {}, { private: next === "private" }, { locked: next === "slot-locked" });
    const slots = { [slot]: key, ...(slot % 2 === 0 ? { [slot + 1]: nextKey } : {}) };
    yield { setup: { model, stage, slots }, prelude: [...auth, nonceRandom], step: plain(0x43, 0, slot, data) };
  }
}

/** Verify with a stored key. It is what gives authorisation, so what follows uses it. */
export function* verifyStoredMatrix(random: Random, model: Model): Generator<Case> {
  for (const { stage, isPrivate, keyType, pubInfo, slot, content, tempKey, right } of product({
    stage: STAGES,
    isPrivate: [false, false, true],
    keyType: [4, 4, 7],
    pubInfo: YES_NO,
    slot: [2, 8, 9, 12],
    content: PUBLIC_CONTENT,
    tempKey: TEMPKEYS.slice(0, 5),
    right: [true, false],
  })) {
    if (random.chance(stage !== "locked" ? 0.95 : 0.65)) continue;
    const held: Content = slot === 2 ? "secret" : content;
    const key = noisySlot(random, {}, { private: isPrivate, keyType, pubInfo }, { content: held });
    yield { setup: { model, stage, slots: { [slot]: key } }, prelude: tempKey, step: verifyStored(slot, slot, right) };
  }
}

export function* verifyExternalMatrix(random: Random, model: Model): Generator<Case> {
  const point = publicKeyOf(hostKey(201));
  const off = point.map((byte, at) => (at === 63 ? byte ^ 1 : byte));
  for (const { stage, tempKey, right, key, auth } of product({
    stage: STAGES,
    tempKey: TEMPKEYS,
    right: YES_NO,
    key: [point, off, publicKeyOf(hostKey(202))],
    auth: AUTH.slice(0, 2),
  })) {
    const setup: Setup = { model, stage, slots: { 2: noisySlot(random, {}, {}) } };
    yield { setup, prelude: [...auth, ...tempKey], step: verifyExternal(key, 201, right) };
  }
}

/** Validation of a public key by its parent. */
export function* validationMatrix(random: Random, model: Model): Generator<Case> {
  const parents = ["plain", "validated", "not validated", "secret", "private", "off curve"] as const;
  for (const { mode, stage, pubInfo, keyType, locked, parent, tempKey, right, content } of product({
    mode: [3, 7] as const,
    stage: ["locked", "locked", "configured", "open"] as const,
    pubInfo: [true, true, false],
    keyType: [4, 4, 7],
    locked: [false, false, true],
    parent: parents,
    tempKey: [genKeyOf("random", 9), genKeyOf("fixed", 9), genKeyOf("random", VALIDATOR_SLOT), [nonceRandom], []],
    right: [true, true, false],
    content: PUBLIC_CONTENT.slice(1, 3),
  })) {
    if (random.chance(stage !== "locked" ? 0.98 : 0.9)) continue;
    const key = noisySlot(random, { readKey: 12 }, { private: false, keyType, pubInfo }, { locked, content });
    const validated: Content = parent === "not validated" ? "public key not valid" : "public key";
    const parentKey = noisySlot(
      random,
      {},
      {
        private: parent === "private",
        keyType: parent === "secret" ? 7 : 4,
        pubInfo: parent === "validated" || parent === "not validated",
      },
      { content: parent === "off curve" ? "public key off curve" : validated },
    );
    const setup: Setup = { model, stage, slots: { 9: key, 12: parentKey } };
    yield { setup, prelude: tempKey, step: validate(mode, 9, 12, right) };
  }
}

/** Authorisation by a signature, then a key that wants it. */
export function* verifyAuthorises(random: Random, model: Model): Generator<Case> {
  const point = publicKeyOf(hostKey(203));
  for (const { first, right, authKey, after, use } of product({
    first: [nonceRandom, nonceFixed()],
    right: YES_NO,
    authKey: [AUTH_PUBLIC_SLOT, AUTH_SLOT],
    after: ["nothing", "external right", "external wrong", "stored wrong"],
    use: ["sign", "ecdh", "genkey"],
  })) {
    const key = noisySlot(
      random,
      { readKey: 0b0101 },
      { private: true, keyType: 4, pubInfo: true, reqAuth: true, authKey },
      { content: "private key" },
    );
    const then: Record<string, Step[]> = {
      "external right": [nonceRandom, verifyExternal(point, 203)],
      "external wrong": [nonceRandom, verifyExternal(point, 203, false)],
      "stored wrong": [nonceRandom, verifyStored(AUTH_PUBLIC_SLOT, AUTH_PUBLIC_SLOT, false)],
    };
    const uses: Record<string, Step> = {
      sign: plain(0x41, 0x80, 2),
      ecdh: plain(0x43, 0, 2, point),
      genkey: plain(0x40, 0, 2),
    };
    const prelude = [
      first,
      verifyStored(AUTH_PUBLIC_SLOT, AUTH_PUBLIC_SLOT, right),
      ...(then[after] ?? []),
      nonceRandom,
    ];
    const step = uses[use] ?? plain(0x41, 0x80, 2);
    yield { setup: { model, stage: "locked", slots: { 2: key } }, prelude, step };
  }
}

/** Sign and ECDH with the slot that has a limit. */
export function* limitedCurveUses(random: Random): Generator<Case> {
  const point = publicKeyOf(hostKey(204));
  const off = concat(point.subarray(0, 63), Uint8Array.of((point[63] ?? 0) ^ 1));
  for (const { left, limitedUse, slot, kind, readKey } of product({
    left: [0, 0, 1, 128],
    limitedUse: YES_NO,
    slot: [12, 15],
    kind: ["sign", "ecdh", "ecdh off curve", "genkey"],
    readKey: [0b0101, 0b0010],
  })) {
    const lastKeyUse = new Uint8Array(16).fill(left === 128 ? 0xff : 0);
    if (left === 1) lastKeyUse[9] = 0x04;
    const key = noisySlot(
      random,
      { readKey, limitedUse },
      { private: true, keyType: 4, pubInfo: true },
      { content: "private key" },
    );
    const steps: Record<string, Step> = {
      sign: plain(0x41, 0x80, slot),
      ecdh: plain(0x43, 0, slot, point),
      "ecdh off curve": plain(0x43, 0, slot, off),
      genkey: plain(0x40, 0, slot),
    };
    const setup: Setup = { model: "508a", stage: "locked", lastKeyUse, slots: { [slot]: key } };
    yield { setup, prelude: [nonceRandom], step: steps[kind] ?? plain(0x41, 0x80, slot) };
  }
}

/** Use of a private key goes on when its slot is locked, change stops. */
export function* slotLockedUses(random: Random, model: Model): Generator<Case> {
  const point = publicKeyOf(hostKey(205));
  for (const { locked, slot, step } of product({
    locked: YES_NO,
    slot: [0, 6, 10],
    step: ["sign", "ecdh", "public key", "create"],
  })) {
    const key = noisySlot(
      random,
      { readKey: 0b0101, writeConfig: 0b0010 },
      { private: true, keyType: 4, pubInfo: true },
      { content: "private key", locked },
    );
    const steps: Record<string, Step> = {
      sign: plain(0x41, 0x80, slot),
      ecdh: plain(0x43, 0, slot, point),
      "public key": plain(0x40, 0, slot),
      create: plain(0x40, 4, slot),
    };
    const setup: Setup = { model, stage: "locked", slots: { [slot]: key } };
    yield { setup, prelude: [nonceRandom], step: steps[step] ?? plain(0x40, 4, slot) };
  }
}
