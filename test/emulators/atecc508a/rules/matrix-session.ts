import type { Case } from "./cases.ts";
import type { Model } from "./device.ts";
import { zeros } from "./digests.ts";
import { STAGES } from "./matrix-secrets.ts";
import { noisySlot, YES_NO } from "./noise.ts";
import { product, type Random } from "./random.ts";
import { AUTH_SLOT, type Content, KEY_SLOT, NOMAC_SLOT, type Setup } from "./setup.ts";
import {
  AUTHORISATION,
  checkMac,
  genDig,
  genDigOf,
  genKeyOf,
  idle,
  mac,
  nonceFixed,
  nonceRandom,
  plain,
  type Step,
  sleep,
  TEMPKEY,
} from "./steps.ts";

/** The matrix of Info, Random, Nonce, SHA and Pause, and of what idle, sleep and bad packets leave behind. */

const STATES: readonly (readonly Step[])[] = [
  ...Object.values(TEMPKEY),
  ...Object.values(AUTHORISATION),
  genDigOf("random", KEY_SLOT),
  genDigOf("fixed", NOMAC_SLOT, Uint8Array.of(1, 2, 3, 4)),
  genKeyOf("random", 13),
  [...genDigOf("random", KEY_SLOT), plain(0x15, 0, 0)],
];

const onEmpty = (model: Model, stage: Setup["stage"]): Setup => ({ model, stage, slots: {} });

/** Whatever state there is: what asks for nothing changes nothing, and what sets TempKey sets all of it. */
export function* onEveryState(random: Random, model: Model): Generator<Case> {
  const steps: readonly Step[] = [
    plain(0x30, 0),
    plain(0x30, 2, 0xffff),
    plain(0x30, 3),
    plain(0x1b, 0),
    plain(0x1b, 1),
    plain(0x02, 0x80, 0),
    plain(0x24, 0, 0),
    nonceRandom,
    plain(0x16, 0x01, 0, random.bytes(20)),
    nonceFixed(),
    idle,
    sleep,
    mac(0x00, 2),
    mac(0x03, 2),
    mac(0x07, 2),
    plain(0x16, 0x00, 0, random.bytes(19)),
    plain(0x16, 0x02, 0, random.bytes(20)),
    plain(0x17, 0x43),
    genDig(2),
    checkMac(0, 2),
    checkMac(0, 2, false),
    checkMac(3, 2),
    plain(0x47, 0),
    plain(0x47, 4, 2),
    plain(0x99, 0),
  ];
  for (const { stage, state, step, between } of product({
    stage: STAGES,
    state: STATES,
    step: steps,
    between: [[], [idle], [sleep]],
  })) {
    yield { setup: onEmpty(model, stage), prelude: [...state, ...between], step };
  }
}

/** A bad packet changes nothing, whatever the command. */
export function* badPackets(random: Random, model: Model): Generator<Case> {
  const commands: [number, number, number, number][] = [
    [0x30, 2, 0, 0],
    [0x1b, 0, 0, 0],
    [0x16, 0, 0, 20],
    [0x15, 2, KEY_SLOT, 0],
    [0x08, 0, 2, 32],
    [0x08, 1, 2, 0],
    [0x28, 0, 2, 77],
    [0x1c, 0, 2, 0],
    [0x40, 4, 2, 0],
    [0x12, 0x82, 0x10, 32],
    [0x17, 0x80, 0, 0],
    [0x17, 0x81, 0, 0],
    [0x17, 0x02, 0, 0],
    [0x20, 0, 1, 0],
    [0x24, 1, 0, 0],
    [0x47, 0, 0, 0],
    [0x99, 0, 0, 0],
  ];
  const damages = ["crc", "count too small", "count too large", "byte missing"] as const;
  for (const { command, damage, stage, state } of product({
    command: commands,
    damage: damages,
    stage: STAGES,
    state: STATES,
  })) {
    if (random.chance(0.3)) continue;
    const [opcode, mode, param2, length] = command;
    yield {
      setup: onEmpty(model, stage),
      prelude: state,
      step: plain(opcode, mode, param2, random.bytes(length), damage),
    };
  }
}

export function* infoKeyValid(random: Random, model: Model): Generator<Case> {
  const contents: readonly Content[] = [
    "secret",
    "private key",
    "private key 0",
    "private key n",
    "public key",
    "public key not valid",
  ];
  for (const { slot, isPrivate, keyType, pubInfo, content, stage } of product({
    slot: [0, 7, 8, 9, 15],
    isPrivate: YES_NO,
    keyType: [4, 7],
    pubInfo: YES_NO,
    content: contents,
    stage: STAGES,
  })) {
    if (slot < 8 && (content === "public key" || content === "public key not valid")) continue;
    const key = noisySlot(random, {}, { private: isPrivate, keyType, pubInfo }, { content });
    yield { setup: { model, stage, slots: { [slot]: key } }, prelude: [nonceFixed()], step: plain(0x30, 1, slot) };
  }
}

/** SHA in every order of a few steps. */
export function* shaSequences(random: Random, model: Model): Generator<Case> {
  const end = model === "508a" ? 5 : 2;
  const steps: readonly Step[] = [
    plain(0x47, 0),
    plain(0x47, 4, 2),
    plain(0x47, 1, 64, random.bytes(64)),
    plain(0x47, 2, 0),
    plain(0x47, 2, 63, random.bytes(63)),
    plain(0x47, 5, 0),
    plain(0x47, 5, 17, random.bytes(17)),
    plain(0x47, 3, 13),
    plain(0x47, 3, 2),
    plain(0x30, 2),
    idle,
    sleep,
    plain(0x1b, 0),
    nonceFixed(),
  ];
  for (const { a, b, c, stage } of product({ a: steps, b: steps, c: steps, stage: ["locked", "open"] as const })) {
    if (random.chance(stage === "open" ? 0.85 : 0.2)) continue;
    const prelude = [nonceFixed(), ...(random.chance(0.5) ? [plain(0x47, 0)] : [plain(0x47, 4, 2)]), a, b];
    const key = noisySlot(random, {}, { keyType: 7 });
    yield { setup: { model, stage, slots: { 2: key } }, prelude, step: c };
  }
  for (const { length, start, blocks } of product({
    length: Array.from({ length: 64 }, (_, at) => at),
    start: [0, 4],
    blocks: [0, 1, 2],
  })) {
    const fed = Array.from({ length: blocks }, () => plain(0x47, 1, 64, random.bytes(64)));
    const step = plain(0x47, start === 0 ? 2 : end, length, random.bytes(length));
    const setup: Setup = { model, stage: "locked", slots: { 2: noisySlot(random, {}, { keyType: 7 }) } };
    yield { setup, prelude: [plain(0x47, start, start === 0 ? 0 : 2), ...fed], step };
  }
}

/** HMAC start of SHA: its gates. */
export function* shaGates(random: Random, model: Model): Generator<Case> {
  for (const { stage, noMac, isPrivate, reqRandom, reqAuth, auth, tempKey } of product({
    stage: STAGES,
    noMac: YES_NO,
    isPrivate: YES_NO,
    reqRandom: YES_NO,
    reqAuth: YES_NO,
    auth: Object.values(AUTHORISATION),
    tempKey: [[], [nonceRandom], [nonceFixed()]],
  })) {
    if (auth.length > 0 && !reqAuth) continue;
    const key = noisySlot(random, { noMac }, { private: isPrivate, reqRandom, reqAuth, authKey: AUTH_SLOT });
    yield { setup: { model, stage, slots: { 6: key } }, prelude: [...auth, ...tempKey], step: plain(0x47, 4, 6) };
  }
  for (const { used, limitedUse, isPrivate } of product({
    used: [0, 0, 1, 128],
    limitedUse: YES_NO,
    isPrivate: YES_NO,
  })) {
    const key = noisySlot(random, { limitedUse }, { private: isPrivate });
    const lastKeyUse = new Uint8Array(16).fill(used === 128 ? 0xff : 0);
    if (used === 1) lastKeyUse[3] = 0x20;
    yield {
      setup: { model, stage: "locked", lastKeyUse, slots: { 15: key } },
      prelude: [nonceFixed()],
      step: plain(0x47, 4, 15),
    };
  }
}

/** Pause: silent unless the Selector is meant; either way TempKey stays. */
export function* pauses(_: Random): Generator<Case> {
  for (const { selector, mode, param2, state } of product({
    selector: [0, 1, 0xff],
    mode: [0, 1, 0x80, 0xff],
    param2: [0, 1],
    state: STATES,
  })) {
    yield {
      setup: { model: "508a", stage: "locked", selector, slots: {} },
      prelude: state,
      step: plain(0x01, mode, param2, zeros(0)),
    };
  }
}
