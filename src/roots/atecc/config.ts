/**
 * The configuration zone, read. Names and bits: ATECC508A complete data sheet, "Configuration Zone", "SlotConfig",
 * "KeyConfig".
 */
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";

/** Bytes of each slot. */
export const SLOT_SIZES = [36, 36, 36, 36, 36, 36, 36, 36, 416, 72, 72, 72, 72, 72, 72, 72] as const;

/** Offsets in the configuration zone. */
export const CONFIG = {
  size: 128,
  i2cAddress: 16,
  chipMode: 19,
  slotConfig: 20,
  counter0: 52,
  counter1: 60,
  lockValue: 86,
  lockConfig: 87,
  slotLocked: 88,
  keyConfig: 96,
} as const;

const UNLOCKED = 0x55;

/** KeyConfig.KeyType. */
export const KEY_TYPE = { p256: 4, aes: 6, other: 7 } as const;

export interface SlotConfig {
  readonly readKey: number;
  readonly noMac: boolean;
  readonly limitedUse: boolean;
  readonly encryptRead: boolean;
  readonly isSecret: boolean;
  readonly writeKey: number;
  readonly writeConfig: number;
}

export interface KeyConfig {
  readonly private: boolean;
  readonly pubInfo: boolean;
  readonly keyType: number;
  readonly lockable: boolean;
  readonly reqRandom: boolean;
  readonly reqAuth: boolean;
  readonly authKey: number;
  readonly intrusionDisable: boolean;
  readonly x509id: number;
}

export interface Slot {
  readonly number: number;
  /** bytes */
  readonly size: number;
  readonly slotConfig: SlotConfig;
  readonly keyConfig: KeyConfig;
  /** Locked one by one, whatever its configuration says. */
  readonly locked: boolean;
}

/** The configuration of one chip. */
export interface ChipConfig {
  /** 128 bytes as read */
  readonly bytes: Uint8Array;
  readonly serial: Uint8Array;
  readonly revision: Uint8Array;
  readonly configLocked: boolean;
  readonly dataLocked: boolean;
  readonly slots: readonly Slot[];
}

/** @param bytes 128 bytes */
export function parseConfig(bytes: Uint8Array): ChipConfig {
  const reader = new Reader(bytes);
  const serialHead = reader.take(4);
  const revision = reader.take(4);
  const serialTail = reader.take(5);
  const slotConfigs = new Reader(bytes.subarray(CONFIG.slotConfig));
  const keyConfigs = new Reader(bytes.subarray(CONFIG.keyConfig));
  const unlocked = new Reader(bytes.subarray(CONFIG.slotLocked)).u16le();
  const slots = SLOT_SIZES.map((size, number) => ({
    number,
    size,
    slotConfig: parseSlotConfig(slotConfigs.u16le()),
    keyConfig: parseKeyConfig(keyConfigs.u16le()),
    locked: (unlocked & (1 << number)) === 0,
  }));
  return {
    bytes,
    serial: Uint8Array.from([...serialHead, ...serialTail]),
    revision,
    configLocked: bytes[CONFIG.lockConfig] !== UNLOCKED,
    dataLocked: bytes[CONFIG.lockValue] !== UNLOCKED,
    slots,
  };
}

export function parseSlotConfig(word: number): SlotConfig {
  return {
    readKey: word & 0x0f,
    noMac: (word & 0x10) !== 0,
    limitedUse: (word & 0x20) !== 0,
    encryptRead: (word & 0x40) !== 0,
    isSecret: (word & 0x80) !== 0,
    writeKey: (word >> 8) & 0x0f,
    writeConfig: (word >> 12) & 0x0f,
  };
}

export function formatSlotConfig(config: SlotConfig): number {
  return (
    config.readKey |
    (config.noMac ? 0x10 : 0) |
    (config.limitedUse ? 0x20 : 0) |
    (config.encryptRead ? 0x40 : 0) |
    (config.isSecret ? 0x80 : 0) |
    (config.writeKey << 8) |
    (config.writeConfig << 12)
  );
}

export function parseKeyConfig(word: number): KeyConfig {
  return {
    private: (word & 0x01) !== 0,
    pubInfo: (word & 0x02) !== 0,
    keyType: (word >> 2) & 0x07,
    lockable: (word & 0x20) !== 0,
    reqRandom: (word & 0x40) !== 0,
    reqAuth: (word & 0x80) !== 0,
    authKey: (word >> 8) & 0x0f,
    intrusionDisable: (word & 0x1000) !== 0,
    x509id: (word >> 14) & 0x03,
  };
}

export function formatKeyConfig(config: KeyConfig): number {
  return (
    (config.private ? 0x01 : 0) |
    (config.pubInfo ? 0x02 : 0) |
    (config.keyType << 2) |
    (config.lockable ? 0x20 : 0) |
    (config.reqRandom ? 0x40 : 0) |
    (config.reqAuth ? 0x80 : 0) |
    (config.authKey << 8) |
    (config.intrusionDisable ? 0x1000 : 0) |
    (config.x509id << 14)
  );
}

/** The 32 bytes of SlotConfig or KeyConfig words as they lie in the zone. */
export function configWords(words: readonly number[]): Uint8Array {
  const writer = new Writer(words.length * 2);
  for (const word of words) writer.u16le(word);
  return writer.done();
}
