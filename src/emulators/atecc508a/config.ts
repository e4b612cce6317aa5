import { concat } from "../../bytes/bytes.ts";
import type { Memory } from "./memory.ts";

/** Offsets in the config zone. */
export const CONFIG = {
  REV_NUM: 4,
  AES_ENABLE: 13,
  I2C_ADDRESS: 16,
  /** 508. */
  OTP_MODE: 18,
  /** 608: bit 0 enable, bits 7:4 slot. */
  COUNT_MATCH: 18,
  CHIP_MODE: 19,
  SLOT_CONFIG: 20,
  COUNTERS: 52,
  /** 508, 16 bytes. */
  LAST_KEY_USE: 68,
  /** 608. */
  KDF_IV_LOC: 72,
  /** 608, 2 bytes. */
  KDF_IV_STR: 73,
  USER_EXTRA: 84,
  SELECTOR: 85,
  LOCK_VALUE: 86,
  LOCK_CONFIG: 87,
  SLOT_LOCKED: 88,
  /** 608, 2 bytes. */
  CHIP_OPTIONS: 90,
  KEY_CONFIG: 96,
} as const;

export const UNLOCKED = 0x55;
export const KEY_TYPE_P256 = 4;
export const KEY_TYPE_AES = 6;

/** open: config zone unlocked. configured: config locked, data and OTP unlocked. locked: both locked. */
export type Stage = "open" | "configured" | "locked";

export function stage(memory: Memory): Stage {
  if (memory.config[CONFIG.LOCK_CONFIG] === UNLOCKED) return "open";
  return memory.config[CONFIG.LOCK_VALUE] === UNLOCKED ? "configured" : "locked";
}

/** SlotConfig and KeyConfig of one slot, taken apart. */
export interface SlotPolicy {
  readonly slot: number;
  readonly readKey: number;
  readonly noMac: boolean;
  readonly limitedUse: boolean;
  readonly encryptRead: boolean;
  readonly isSecret: boolean;
  readonly writeKey: number;
  /** SlotConfig bits 15:12. */
  readonly writeConfig: number;
  readonly private: boolean;
  readonly pubInfo: boolean;
  readonly keyType: number;
  readonly lockable: boolean;
  readonly reqRandom: boolean;
  readonly reqAuth: boolean;
  readonly authKey: number;
  readonly locked: boolean;
}

/** @param slot 0 to 15 */
export function slotPolicy({ config }: Memory, slot: number): SlotPolicy {
  const slotConfig = u16(config, CONFIG.SLOT_CONFIG + 2 * slot);
  const keyConfig = u16(config, CONFIG.KEY_CONFIG + 2 * slot);
  return {
    slot,
    readKey: slotConfig & 0x0f,
    noMac: (slotConfig & 0x10) !== 0,
    limitedUse: (slotConfig & 0x20) !== 0,
    encryptRead: (slotConfig & 0x40) !== 0,
    isSecret: (slotConfig & 0x80) !== 0,
    writeKey: (slotConfig >> 8) & 0x0f,
    writeConfig: slotConfig >> 12,
    private: (keyConfig & 0x01) !== 0,
    pubInfo: (keyConfig & 0x02) !== 0,
    keyType: (keyConfig >> 2) & 0x07,
    lockable: (keyConfig & 0x20) !== 0,
    reqRandom: (keyConfig & 0x40) !== 0,
    reqAuth: (keyConfig & 0x80) !== 0,
    authKey: (keyConfig >> 8) & 0x0f,
    locked: (u16(config, CONFIG.SLOT_LOCKED) & (1 << slot)) === 0,
  };
}

export function isEccPrivate(policy: SlotPolicy): boolean {
  return policy.private && policy.keyType === KEY_TYPE_P256;
}

/** Only slots 8 to 15 are large enough for a public key. */
export function isPublic(policy: SlotPolicy): boolean {
  return !policy.private && policy.keyType === KEY_TYPE_P256 && policy.slot >= 8;
}

/** 608: AES_Enable. */
export function isAesEnabled({ config }: Memory): boolean {
  return ((config[CONFIG.AES_ENABLE] ?? 0) & 1) !== 0;
}

/** SlotConfig or KeyConfig as it lies in the zone. */
export function configBytes({ config }: Memory, field: "SLOT_CONFIG" | "KEY_CONFIG", slot: number): Uint8Array {
  const offset = CONFIG[field] + 2 * slot;
  return config.subarray(offset, offset + 2);
}

/** SN[0:8]. */
export function serialNumber({ config }: Memory): Uint8Array {
  return concat(config.subarray(0, 4), config.subarray(8, 13));
}

/** ChipOptions of the 608. */
export interface ChipOptionBits {
  readonly ioKeyEnable: boolean;
  readonly kdfAesEnable: boolean;
  /** 0 clear, 1 encrypted, 2 TempKey or slot, 3 slot only: each allows what is stricter. */
  readonly ecdhProtection: number;
  readonly kdfProtection: number;
  readonly ioKeySlot: number;
}

export function chipOptions({ config }: Memory): ChipOptionBits {
  const bits = u16(config, CONFIG.CHIP_OPTIONS);
  return {
    ioKeyEnable: (bits & 0x02) !== 0,
    kdfAesEnable: (bits & 0x04) !== 0,
    ecdhProtection: (bits >> 8) & 3,
    kdfProtection: (bits >> 10) & 3,
    ioKeySlot: bits >> 12,
  };
}

/**
 * The 7-bit address the chip answers to. ChipMode bit 0 puts the UserExtra byte (508) or UserExtraAdd (608) in the
 * place of I2C_Address, unless it is 0.
 */
export function i2cAddress({ config, model }: Memory): number {
  const own = config[CONFIG.I2C_ADDRESS] ?? 0;
  const extra = config[model === "508a" ? CONFIG.USER_EXTRA : CONFIG.SELECTOR] ?? 0;
  return ((config[CONFIG.CHIP_MODE] ?? 0) & 1 && extra !== 0 ? extra : own) >> 1;
}

function u16(bytes: Readonly<Uint8Array>, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
}
