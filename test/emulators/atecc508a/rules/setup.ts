import { concat } from "../../../../src/bytes/bytes.ts";
import { setCounter } from "./counters.ts";
import { ORDER, publicKeyOf, publicKeySlot, scalarBytes } from "./curve.ts";
import { AT, type Device, type Model, NO_TEMP_KEY, SLOT_SIZES, type Stage } from "./device.ts";
import { sha256, u8, u16, zeros } from "./digests.ts";

/** What the memory of the chip holds when a case begins. Slots that are not named are as `ORDINARY` says. */
export interface Setup {
  readonly model: Model;
  readonly stage: Stage;
  readonly slots: Readonly<Record<number, SlotSetup>>;
  /** Config byte 18: OTPmode of the 508, CountMatch of the 608. */
  readonly byte18?: number;
  readonly lastKeyUse?: Uint8Array;
  readonly counters?: readonly [number, number];
  /** 608: config byte 13; 1 when not given. */
  readonly aesEnable?: number;
  readonly userExtra?: number;
  readonly selector?: number;
}

export interface SlotSetup {
  readonly slotConfig: number;
  readonly keyConfig: number;
  readonly locked?: boolean;
  readonly content?: Content;
}

export type Content =
  | "secret"
  | "private key"
  | "private key 0"
  | "private key n"
  | "public key"
  | "public key not valid"
  | "public key off curve"
  | Uint8Array;

export function slotConfig(
  fields: Partial<{
    readKey: number;
    noMac: boolean;
    limitedUse: boolean;
    encryptRead: boolean;
    isSecret: boolean;
    writeKey: number;
    writeConfig: number;
  }>,
): number {
  const flag = (value: boolean | undefined, index: number): number => (value ? 1 << index : 0);
  return (
    (fields.readKey ?? 0) |
    flag(fields.noMac, 4) |
    flag(fields.limitedUse, 5) |
    flag(fields.encryptRead, 6) |
    flag(fields.isSecret, 7) |
    ((fields.writeKey ?? 0) << 8) |
    ((fields.writeConfig ?? 0) << 12)
  );
}

export function keyConfig(
  fields: Partial<{
    private: boolean;
    pubInfo: boolean;
    keyType: number;
    lockable: boolean;
    reqRandom: boolean;
    reqAuth: boolean;
    authKey: number;
    /** Bits 15:12, which have no effect. */
    rest: number;
  }>,
): number {
  const flag = (value: boolean | undefined, index: number): number => (value ? 1 << index : 0);
  return (
    flag(fields.private, 0) |
    flag(fields.pubInfo, 1) |
    ((fields.keyType ?? 7) << 2) |
    flag(fields.lockable, 5) |
    flag(fields.reqRandom, 6) |
    flag(fields.reqAuth, 7) |
    ((fields.authKey ?? 0) << 8) |
    ((fields.rest ?? 0) << 12)
  );
}

/** The slots that recipes use, in every setup that does not say otherwise. */
export const AUTH_SLOT = 1;
export const OTHER_AUTH_SLOT = 3;
export const KEY_SLOT = 5;
export const NOMAC_SLOT = 7;
export const VALIDATOR_SLOT = 13;
export const AUTH_PUBLIC_SLOT = 14;

const SECRET: SlotSetup = {
  slotConfig: slotConfig({ isSecret: true, readKey: 1, writeConfig: 0b1000 }),
  keyConfig: keyConfig({ lockable: true }),
  content: "secret",
};
const NOMAC: SlotSetup = { ...SECRET, slotConfig: SECRET.slotConfig | 0x10 };
const PUBLIC: SlotSetup = {
  slotConfig: slotConfig({}),
  keyConfig: keyConfig({ keyType: 4, lockable: true }),
  content: "public key",
};
const ORDINARY = (slot: number): SlotSetup => {
  if (slot === NOMAC_SLOT) return NOMAC;
  return slot === VALIDATOR_SLOT || slot === AUTH_PUBLIC_SLOT ? PUBLIC : SECRET;
};

const HOST_KEYS = Array.from({ length: 256 }, (_, index) => sha256(u8(index), Buffer.from("key pair of a test")));

/** Private key number `index`, 0 to 255, for keys whose public half is in a slot. */
export function hostKey(index: number): Uint8Array {
  const key = HOST_KEYS[index];
  if (!key) throw new RangeError(`no key ${index}`);
  return key;
}

/** @returns the chip of a setup, with nothing in its volatile state */
export function deviceOf(setup: Setup): Device {
  const slots = SLOT_SIZES.map((_, slot) => setup.slots[slot] ?? ORDINARY(slot));
  return {
    model: setup.model,
    config: configOf(setup, slots),
    otp: filled(64, 0xa0),
    slots: slots.map(({ content = "secret" }, slot) => contentOf(content, slot)),
    tempKey: NO_TEMP_KEY,
    messageDigest: "absent",
    auth: { valid: false, keyId: 0 },
    sha: "none",
  };
}

function configOf(setup: Setup, slots: readonly SlotSetup[]): Uint8Array {
  const config = new Uint8Array(128);
  config.set(u8(0x01, 0x23, 0x4a, 0x5b));
  config.set(setup.model === "508a" ? u8(0, 0, 0x50, 0) : u8(0, 0, 0x60, 0x02), 4);
  config.set(u8(0x6c, 0x7d, 0x8e, 0x9f, 0xee), 8);
  config.set(u8(setup.model === "608a" ? (setup.aesEnable ?? 1) : 0, 1, 0, 0xc0, 0), 13);
  config[AT.otpMode] = setup.byte18 ?? (setup.model === "508a" ? 0xaa : 0);
  for (const [slot, { slotConfig, keyConfig }] of slots.entries()) {
    config.set(u16(slotConfig), AT.slotConfig + 2 * slot);
    config.set(u16(keyConfig), AT.keyConfig + 2 * slot);
  }
  setCounter(config, 0, setup.counters?.[0] ?? 0);
  setCounter(config, 1, setup.counters?.[1] ?? 0);
  if (setup.model === "508a") config.set(setup.lastKeyUse ?? new Uint8Array(16).fill(0xff), AT.lastKeyUse);
  config[AT.userExtra] = setup.userExtra ?? 0;
  config[AT.selector] = setup.selector ?? 0;
  config[AT.lockValue] = setup.stage === "locked" ? 0 : 0x55;
  config[AT.lockConfig] = setup.stage === "open" ? 0x55 : 0;
  const unlocked = slots.reduce((mask, { locked }, slot) => (locked ? mask : mask | (1 << slot)), 0);
  config.set(u16(unlocked), AT.slotLocked);
  return config;
}

function contentOf(content: Content, slot: number): Uint8Array {
  const size = SLOT_SIZES[slot] ?? 0;
  const bytes = filled(size, 16 * slot + 1);
  bytes.set(typeof content === "string" ? start(content, slot, bytes).subarray(0, size) : content);
  return bytes;
}

function start(content: Exclude<Content, Uint8Array>, slot: number, filler: Uint8Array): Uint8Array {
  const point = (): Uint8Array => publicKeyOf(hostKey(slot));
  switch (content) {
    case "secret":
      return filler;
    case "private key":
      return concat(zeros(4), hostKey(slot));
    case "private key 0":
      return zeros(36);
    case "private key n":
      return concat(zeros(4), scalarBytes(ORDER));
    case "public key":
      return publicKeySlot(point(), 0x5);
    case "public key not valid":
      return publicKeySlot(point(), 0xa);
    case "public key off curve":
      return publicKeySlot(
        point().map((byte, at) => (at === 63 ? byte ^ 1 : byte)),
        0x5,
      );
  }
}

/** Bytes that are all different from their neighbours, so that a wrong offset shows. */
function filled(size: number, start: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, at) => (start + 7 * at) & 0xff);
}
