import type { Case } from "./cases.ts";
import { publicKeyOf } from "./curve.ts";
import { STAGES } from "./matrix-secrets.ts";
import { noisySlot, YES_NO } from "./noise.ts";
import { product, type Random } from "./random.ts";
import { AUTH_SLOT, hostKey, KEY_SLOT, type Setup } from "./setup.ts";
import {
  AUTHORISATION,
  checkMac,
  deriveKey,
  genDig,
  genDigOf,
  mac,
  nonceFixed,
  nonceRandom,
  plain,
  type Step,
  sleep,
  verifyExternal,
  verifyStored,
} from "./steps.ts";

/** Where the 608 differs: targets and sources of a message, and uses counted on Counter0. */

const value = Uint8Array.from({ length: 64 }, (_, at) => 0xc0 ^ at);

export function* nonce608(random: Random): Generator<Case> {
  const states: readonly (readonly Step[])[] = [[], [nonceRandom], [nonceFixed()], genDigOf("random", KEY_SLOT)];
  for (const { mode, param2, length, state, stage } of product({
    mode: [0x00, 0x01, 0x02, 0x03, 0x23, 0x43, 0x63, 0x83, 0xc3, 0x13, 0x20, 0x40],
    param2: [0, 0x8000, 1],
    length: [20, 32, 64],
    state: states,
    stage: STAGES,
  })) {
    const setup: Setup = { model: "608a", stage, slots: { 2: noisySlot(random, {}, {}) } };
    yield { setup, prelude: state, step: plain(0x16, mode, param2, value.subarray(0, length)) };
  }
}

/** Sign and Verify take their message from TempKey, or from the Message Digest Buffer. */
export function* messageSources(random: Random): Generator<Case> {
  const toBuffer = plain(0x16, 0x43, 0, value.subarray(0, 32));
  const states: readonly (readonly Step[])[] = [
    [],
    [nonceRandom],
    [toBuffer],
    [nonceRandom, toBuffer],
    [nonceFixed(), toBuffer],
    [toBuffer, sleep],
    [plain(0x16, 0x63, 0, value)],
  ];
  const point = publicKeyOf(hostKey(210));
  for (const { state, mode, reqRandom, readKey, stage } of product({
    state: states,
    mode: [0x80, 0xa0, 0x20, 0xc0, 0xe0],
    reqRandom: YES_NO,
    readKey: [0b0001, 0b0010],
    stage: ["locked", "locked", "configured"] as const,
  })) {
    const key = noisySlot(random, { readKey }, { private: true, keyType: 4, reqRandom }, { content: "private key" });
    yield { setup: { model: "608a", stage, slots: { 2: key } }, prelude: state, step: plain(0x41, mode, 2) };
  }
  for (const { state, mode, right, pubInfo } of product({
    state: states,
    mode: [0x00, 0x20, 0x02, 0x22],
    right: YES_NO,
    pubInfo: YES_NO,
  })) {
    const key = noisySlot(random, {}, { private: false, keyType: 4, pubInfo }, { content: "public key" });
    const step = mode & 2 ? verifyExternal(point, 210, right, mode) : verifyStored(9, 9, right, mode);
    yield { setup: { model: "608a", stage: "locked", slots: { 9: key } }, prelude: state, step };
  }
}

/** LimitedUse: any slot, Counter0 against the value in the CountMatch slot. */
export function* limitedUse608(random: Random): Generator<Case> {
  const point = publicKeyOf(hostKey(211));
  for (const { limit, count, limitedUse, kind, granted, slot } of product({
    limit: [0, 32, 64, 100_000, 33, "copies differ", "disabled"] as const,
    count: [0, 31, 32, 63, 64, 99_999, 100_000],
    limitedUse: YES_NO,
    kind: ["mac", "check", "check wrong", "gendig", "roll", "create", "sha", "sign", "ecdh", "genkey"],
    granted: [true, true, false],
    slot: [2, 15],
  })) {
    if (random.chance(0.4)) continue;
    const onCurve = ["sign", "ecdh", "genkey"].includes(kind);
    const key = noisySlot(
      random,
      { limitedUse, writeConfig: 0b0010, readKey: 0b0101 },
      { private: onCurve === granted, keyType: onCurve ? 4 : 7, pubInfo: true },
      { locked: false, content: onCurve ? "private key" : "secret" },
    );
    const child = noisySlot(random, { writeConfig: 0b0011, writeKey: slot }, { private: false }, { locked: false });
    const words = new Uint8Array(36);
    const value = typeof limit === "number" ? limit : 64;
    for (const at of [0, 4]) new DataView(words.buffer).setUint32(at, value, true);
    if (limit === "copies differ") words[4] = 32;
    const match = noisySlot(random, {}, {}, { content: words });
    const setup: Setup = {
      model: "608a",
      stage: "locked",
      byte18: limit === "disabled" ? 0xa0 : 0xa1,
      counters: [count, 3],
      slots: { [slot]: key, 4: child, 10: match },
    };
    const steps: Record<string, Step> = {
      mac: mac(0, slot),
      check: checkMac(0, slot),
      "check wrong": checkMac(1, slot, false),
      gendig: genDig(slot),
      roll: deriveKey(0, slot, "none"),
      create: deriveKey(0, 4, "none"),
      sha: plain(0x47, 4, slot),
      sign: plain(0x41, 0x80, slot),
      ecdh: plain(0x43, 0, slot, point),
      genkey: plain(0x40, 0, slot),
    };
    yield { setup, prelude: [nonceRandom], step: steps[kind] ?? mac(0, slot) };
  }
}

/** GenKey into TempKey, and what the 608 no longer has. */
export function* genKey608(random: Random): Generator<Case> {
  for (const { mode, param2, stage, length } of product({
    mode: [0x00, 0x04, 0x08, 0x0c, 0x10],
    param2: [0xffff, 0xfffe, 0x10],
    stage: STAGES,
    length: [0, 3],
  })) {
    const setup: Setup = { model: "608a", stage, slots: { 2: noisySlot(random, {}, {}) } };
    yield { setup, prelude: [nonceRandom], step: plain(0x40, mode, param2, random.bytes(length)) };
  }
}

/** AES with the key of a slot. */
export function* aes608(random: Random): Generator<Case> {
  for (const { mode, stage, keyType, isPrivate, reqAuth, auth, aesEnable, limitedUse, count } of product({
    mode: [0x00, 0x01, 0x40, 0xc1, 0x02, 0x08],
    stage: STAGES,
    keyType: [6, 6, 4, 7],
    isPrivate: YES_NO,
    reqAuth: YES_NO,
    auth: [[], AUTHORISATION["auth right"] ?? [], AUTHORISATION["auth with another key"] ?? []],
    aesEnable: [1, 0xfe],
    limitedUse: YES_NO,
    count: [31, 32],
  })) {
    if (random.chance(stage === "locked" ? 0.4 : 0.8)) continue;
    const slot = random.pick([2, 9, 15]);
    const key = noisySlot(random, { limitedUse }, { keyType, private: isPrivate, reqAuth, authKey: AUTH_SLOT });
    const limit = Uint8Array.of(32, 0, 0, 0, 32, 0, 0, 0);
    const slots = { [slot]: key, 10: noisySlot(random, {}, {}, { content: limit }) };
    const setup: Setup = { model: "608a", stage, slots, aesEnable, byte18: 0xa1, counters: [count, 0] };
    yield { setup, prelude: [...auth, nonceRandom], step: plain(0x51, mode, slot, value.subarray(0, 16)) };
  }
}

/** SelfTest by its bits, SecureBoot on a chip that is not set up for it. */
export function* selfTestAndSecureBoot(random: Random): Generator<Case> {
  for (const { mode, stage, opcode } of product({
    mode: Array.from({ length: 256 }, (_, at) => at),
    stage: STAGES,
    opcode: [0x77, 0x80],
  })) {
    const data = opcode === 0x77 ? 0 : random.pick([0, 32, 96, 64]);
    const setup: Setup = { model: "608a", stage, slots: { 2: noisySlot(random, {}, {}) } };
    yield { setup, prelude: [nonceRandom], step: plain(opcode, mode, 0, random.bytes(data)) };
  }
}
