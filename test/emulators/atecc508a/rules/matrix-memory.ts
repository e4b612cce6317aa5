import { concat } from "../../../../src/bytes/bytes.ts";
import { crc16 } from "../../../../src/bytes/crc16.ts";
import type { Case } from "./cases.ts";
import { LAST_COUNT } from "./counters.ts";
import { ORDER, scalarBytes } from "./curve.ts";
import type { Model } from "./device.ts";
import { STAGES } from "./matrix-secrets.ts";
import { noisySlot, YES_NO } from "./noise.ts";
import { product, type Random } from "./random.ts";
import { type Content, hostKey, KEY_SLOT, keyConfig, NOMAC_SLOT, type Setup, slotConfig } from "./setup.ts";
import { genDigOf, genKeyOf, nonceFixed, nonceRandom, plain, privWrite, type Step, writeEncrypted } from "./steps.ts";

/** The matrix of Read, Write, PrivWrite, Lock, Counter and UpdateExtra. */

const NOMAC_OTHER = Uint8Array.of(0x15, 2, NOMAC_SLOT, 0);
const TEMPKEYS: readonly (readonly Step[])[] = [
  [],
  [nonceRandom],
  [nonceFixed()],
  genDigOf("random", KEY_SLOT),
  genDigOf("fixed", KEY_SLOT),
  genDigOf("random", 4),
  genDigOf("random", NOMAC_SLOT, NOMAC_OTHER),
  [...genDigOf("random", KEY_SLOT), plain(0x15, 0, 1)],
  [...genDigOf("random", KEY_SLOT), plain(0x15, 4, 0)],
  [...genDigOf("random", 4), plain(0x15, 2, KEY_SLOT)],
  genKeyOf("random", 13),
];

/** Where a word or block of a slot is. */
const address = (slot: number, block = 0, word = 0): number => (slot << 3) | word | (block << 8);

export function* readMatrix(random: Random, model: Model): Generator<Case> {
  for (const { isSecret, encryptRead, isPrivate, stage, mode, tempKey, readKey, place } of product({
    isSecret: YES_NO,
    encryptRead: YES_NO,
    isPrivate: YES_NO,
    stage: STAGES,
    mode: [0x02, 0x82],
    tempKey: TEMPKEYS,
    readKey: [KEY_SLOT, NOMAC_SLOT, 13],
    place: [address(2), address(6), address(9, 1), address(8, 12), address(15)],
  })) {
    if (random.chance(stage !== "locked" ? 0.8 : isSecret === encryptRead ? 0.3 : 0.6)) continue;
    const slot = (place >> 3) & 15;
    const setup = {
      model,
      stage,
      slots: { [slot]: noisySlot(random, { isSecret, encryptRead, readKey }, { private: isPrivate }) },
    };
    yield { setup, prelude: tempKey, step: plain(0x02, mode, place) };
  }
}

/** Every address that Read and Write can be given, more or less, in a zone that is open to both. */
export function* addresses(random: Random, model: Model): Generator<Case> {
  const open = { slotConfig: slotConfig({}), keyConfig: keyConfig({ lockable: true }) };
  const slots = Object.fromEntries(Array.from({ length: 16 }, (_, slot) => [slot, open]));
  const otpMode = model === "508a" ? { byte18: 0x55 } : {};
  const prelude = [nonceFixed()];
  for (const { wide, writes, param2 } of product({ wide: [0, 0x80], writes: YES_NO, param2: dataAddresses() })) {
    if (random.chance(0.5)) continue;
    const data = writes ? random.bytes(wide ? 32 : 4) : undefined;
    const setup: Setup = { model, stage: "locked", slots };
    yield { setup, prelude, step: plain(writes ? 0x12 : 0x02, 2 | wide, param2, data) };
  }
  const others = [...Array.from({ length: 48 }, (_, param2) => param2), 0x40, 0x80, 0x100, 0x8000];
  for (const { wide, writes, param2, zone, stage } of product({
    wide: [0, 0x80],
    writes: YES_NO,
    param2: others,
    zone: [0, 1, 3],
    stage: STAGES,
  })) {
    const data = writes ? random.bytes(wide ? 32 : 4) : undefined;
    // A write that changes the chip's own address or lock bytes would be another test.
    if (data && zone === 0 && param2 === 4) data[0] = 0xc0;
    yield {
      setup: { model, stage, slots, ...otpMode },
      prelude,
      step: plain(writes ? 0x12 : 0x02, zone | wide, param2, data),
    };
  }
}

function dataAddresses(): number[] {
  const list: number[] = [];
  for (const { slot, block, word } of product({
    slot: Array.from({ length: 17 }, (_, slot) => slot),
    block: [0, 1, 2, 3, 11, 12, 13, 0x80],
    word: [0, 1, 2, 4, 7],
  })) {
    list.push(address(slot, block, word));
  }
  return list;
}

const WRITES = ["word", "block", "encrypted", "encrypted, mode 40", "wrong MAC"] as const;

export function* writeMatrix(random: Random, model: Model): Generator<Case> {
  for (const { writeConfig, stage, isPrivate, locked, how, tempKey, writeKey } of product({
    writeConfig: Array.from({ length: 16 }, (_, value) => value),
    stage: STAGES,
    isPrivate: [false, false, true],
    locked: [false, false, true],
    how: WRITES,
    tempKey: TEMPKEYS,
    writeKey: [KEY_SLOT, NOMAC_SLOT, 13],
  })) {
    if (random.chance(stage === "open" ? 0.985 : 0.88)) continue;
    const place = random.pick([address(2), address(0, 1), address(9), address(10, 2), address(8, 4)]);
    const slot = (place >> 3) & 15;
    const content = random.pick<Content>([
      "secret",
      ...(slot > 8 ? (["public key", "public key not valid"] as const) : []),
    ]);
    const key = noisySlot(random, { writeConfig, writeKey }, { private: isPrivate }, { locked, content });
    yield { setup: { model, stage, slots: { [slot]: key } }, prelude: tempKey, step: writeStep(random, how, place) };
  }
}

function writeStep(random: Random, how: (typeof WRITES)[number], place: number): Step {
  const value = random.bytes(32);
  switch (how) {
    case "word":
      return plain(0x12, 0x02, place, value.subarray(0, 4));
    case "block":
      return plain(0x12, 0x82, place, value);
    case "encrypted":
      return writeEncrypted(0x82, place, value);
    case "encrypted, mode 40":
      return writeEncrypted(0xc2, place, value);
    case "wrong MAC":
      return writeEncrypted(random.pick([0x82, 0xc2]), place, value, false);
  }
}

/** Public keys in slots: the nibble that says whether they were validated, under writes. */
export function* publicKeyWrites(random: Random, model: Model): Generator<Case> {
  for (const { writeConfig, pubInfo, keyType, content, slot, how, block } of product({
    writeConfig: [0b0000, 0b0001, 0b0100, 0b0101],
    pubInfo: YES_NO,
    keyType: [4, 7],
    content: ["public key", "public key not valid", "secret"] as const,
    slot: [2, 8, 9, 15],
    how: ["word", "block", "encrypted"] as const,
    block: [0, 1],
  })) {
    if (slot === 2 && content !== "secret") continue;
    const key = noisySlot(
      random,
      { writeConfig, writeKey: KEY_SLOT },
      { pubInfo, keyType },
      { content, locked: false },
    );
    const setup: Setup = { model, stage: "locked", slots: { [slot]: key } };
    yield { setup, prelude: genDigOf("random", KEY_SLOT), step: writeStep(random, how, address(slot, block)) };
  }
}

/** OTP by stage and mode. */
export function* otpWrites(random: Random, model: Model): Generator<Case> {
  for (const { stage, byte18, mode, at } of product({
    stage: STAGES,
    byte18: [0xaa, 0x55, 0x00, 0xff],
    mode: [0x01, 0x81],
    at: [0, 8, 3, 15],
  })) {
    const setup: Setup = { model, stage, byte18, slots: { 2: noisySlot(random, {}, {}) } };
    yield { setup, prelude: [nonceFixed()], step: plain(0x12, mode, at, random.bytes(mode & 0x80 ? 32 : 4)) };
    yield { setup, prelude: [nonceFixed()], step: plain(0x02, mode, at) };
  }
}

export function* privWriteMatrix(random: Random, model: Model): Generator<Case> {
  for (const { mode, stage, isPrivate, keyType, locked, writeConfig, tempKey, writeKey, right, scalar } of product({
    mode: [0x00, 0x40],
    stage: STAGES,
    isPrivate: [true, true, false],
    keyType: [4, 4, 7],
    locked: [false, false, true],
    writeConfig: [0b0000, 0b0100, 0b1011, 0b1111],
    tempKey: TEMPKEYS,
    writeKey: [KEY_SLOT, NOMAC_SLOT],
    right: [true, true, false],
    scalar: [hostKey(77), scalarBytes(ORDER - 1n), scalarBytes(0n), scalarBytes(ORDER)],
  })) {
    const near = isPrivate && keyType === 4 && !locked && tempKey.length > 1;
    if (random.chance(stage === "open" ? 0.995 : near ? 0.94 : 0.99)) continue;
    const slot = random.pick([0, 2, 6, 9, 12, 15]);
    const slotSetup = noisySlot(random, { writeConfig, writeKey }, { private: isPrivate, keyType }, { locked });
    yield {
      setup: { model, stage, slots: { [slot]: slotSetup } },
      prelude: tempKey,
      step: privWrite(mode, slot, scalar, right),
    };
  }
}

/** Lock: zones by stage and summary, slots by Lockable. */
export function* lockMatrix(random: Random, model: Model): Generator<Case> {
  const prelude = [nonceFixed()];
  for (const { zone, stage, ignored, summary, slot } of product({
    zone: [0, 1, 2, 3],
    stage: STAGES,
    ignored: [0, 0x80],
    summary: ["right", "of the other zone", "one bit wrong", "zero"] as const,
    slot: [0, 5],
  })) {
    const setup: Setup = { model, stage, slots: { [slot]: noisySlot(random, {}, {}) } };
    yield { setup, prelude, step: lockStep(zone | ignored | (slot << 2), summary) };
  }
  for (const { slot, stage, lockable, locked, ignored } of product({
    slot: Array.from({ length: 16 }, (_, at) => at),
    stage: STAGES,
    lockable: YES_NO,
    locked: YES_NO,
    ignored: [0, 0x80],
  })) {
    const setup: Setup = { model, stage, slots: { [slot]: noisySlot(random, {}, { lockable }, { locked }) } };
    yield { setup, prelude, step: plain(0x17, 2 | (slot << 2) | ignored, random.integer(0x10000)) };
  }
}

function lockStep(mode: number, summary: "right" | "of the other zone" | "one bit wrong" | "zero"): Step {
  return {
    label: `Lock mode ${mode.toString(16)} with summary ${summary}`,
    command: ({ config, otp, slots }) => {
      const ofConfig = ((mode & 3) === 0) === (summary !== "of the other zone");
      const right = crc16(ofConfig ? config : concat(...slots, otp));
      const param2 = summary === "zero" ? 0 : summary === "one bit wrong" ? right ^ 0x0100 : right;
      return { opcode: 0x17, mode, param2, data: new Uint8Array() };
    },
  };
}

export function* counters(random: Random, model: Model): Generator<Case> {
  const values = [0, 1, 15, 16, 17, 31, 32, 48, 100_000, LAST_COUNT - 1, LAST_COUNT, random.integer(LAST_COUNT)];
  for (const { mode, param2, stage, value, other } of product({
    mode: [0, 1, 2],
    param2: [0, 1, 2],
    stage: STAGES,
    value: values,
    other: [7, LAST_COUNT],
  })) {
    const pair = param2 === 0 ? ([value, other] as const) : ([other, value] as const);
    const setup: Setup = { model, stage, counters: pair, slots: { 2: noisySlot(random, { limitedUse: true }, {}) } };
    yield { setup, prelude: [nonceFixed()], step: plain(0x24, mode, param2) };
  }
}

export function* updateExtra(random: Random, model: Model): Generator<Case> {
  for (const { mode, param2, stage, userExtra, selector, limitedUse, lastKeyUse } of product({
    mode: [0, 1, 2, 3],
    param2: [0, 14, 15, 16, 255, 256],
    stage: STAGES,
    userExtra: [0, 0xff],
    lastKeyUse: [new Uint8Array(16), new Uint8Array(16).fill(0xff), random.bytes(16)],
    limitedUse: YES_NO,
    selector: [0, 0x80],
  })) {
    const limited = noisySlot(random, { limitedUse }, {});
    const setup: Setup = { model, stage, userExtra, selector, lastKeyUse, slots: { 14: limited, 15: limited } };
    yield { setup, prelude: [nonceFixed()], step: plain(0x20, mode, param2) };
  }
}
