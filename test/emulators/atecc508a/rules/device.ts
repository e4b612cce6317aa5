/**
 * The chip as the rules see it: memory and volatile state. The rules are applied to this picture, the emulator to its
 * own, and the two are compared. Nothing here is taken from the emulator.
 */
export type Model = "508a" | "608a";
export type Stage = "open" | "configured" | "locked";

export interface Device {
  readonly model: Model;
  readonly config: Uint8Array;
  readonly otp: Uint8Array;
  readonly slots: readonly Uint8Array[];
  tempKey: TempKey;
  /** Message Digest Buffer of the 608; "unknown" where the documents do not say whether it is kept. */
  messageDigest: Uint8Array | "absent" | "unknown";
  auth: { valid: boolean; keyId: number };
  /** Running SHA; "unknown" where the documents do not say whether it survived. */
  sha: ShaContext | "none" | "unknown";
}

export interface TempKey {
  readonly valid: boolean;
  readonly value: Uint8Array;
  /** 0 random, 1 fixed. */
  readonly source: 0 | 1;
  readonly genDig: boolean;
  readonly genKey: boolean;
  readonly noMac: boolean;
  readonly keyId: number;
  /** 608, GenKey into TempKey: a private key, which is no TempKey to any command but ECDH. */
  readonly isPrivateKey: boolean;
}

export interface ShaContext {
  readonly kind: "sha" | "hmac";
  readonly key: Uint8Array;
  /** What was fed so far. */
  readonly fed: Uint8Array;
}

export const NO_TEMP_KEY: TempKey = {
  valid: false,
  value: new Uint8Array(32),
  source: 0,
  genDig: false,
  genKey: false,
  noMac: false,
  keyId: 0,
  isPrivateKey: false,
};

export const SLOT_SIZES: readonly number[] = Array.from({ length: 16 }, (_, slot) =>
  slot < 8 ? 36 : slot === 8 ? 416 : 72,
);

/** Offsets in the config zone. */
export const AT = {
  aesEnable: 13,
  otpMode: 18,
  countMatch: 18,
  slotConfig: 20,
  counter: [52, 60],
  lastKeyUse: 68,
  userExtra: 84,
  selector: 85,
  lockValue: 86,
  lockConfig: 87,
  slotLocked: 88,
  keyConfig: 96,
} as const;

export const UNLOCKED = 0x55;
export const WRITE_CONFIG_BIT_13 = 0b0010;
export const WRITE_CONFIG_BIT_14 = 0b0100;

export function stageOf(device: Device): Stage {
  if (device.config[AT.lockConfig] === UNLOCKED) return "open";
  return device.config[AT.lockValue] === UNLOCKED ? "configured" : "locked";
}

export type SlotConfig = ReturnType<typeof slotConfigOf>;
export function slotConfigOf(device: Device, slot: number) {
  return decodeSlotConfig(wordAt(device.config, AT.slotConfig + 2 * slot));
}

export function decodeSlotConfig(word: number) {
  return {
    readKey: word & 15,
    noMac: bit(word, 4),
    limitedUse: bit(word, 5),
    encryptRead: bit(word, 6),
    isSecret: bit(word, 7),
    writeKey: (word >> 8) & 15,
    writeConfig: word >> 12,
  };
}

export type KeyConfig = ReturnType<typeof keyConfigOf>;
export function keyConfigOf(device: Device, slot: number) {
  return decodeKeyConfig(wordAt(device.config, AT.keyConfig + 2 * slot));
}

export function decodeKeyConfig(word: number) {
  return {
    private: bit(word, 0),
    pubInfo: bit(word, 1),
    keyType: (word >> 2) & 7,
    lockable: bit(word, 5),
    reqRandom: bit(word, 6),
    reqAuth: bit(word, 7),
    authKey: (word >> 8) & 15,
  };
}

export function slotLocked(device: Device, slot: number): boolean {
  return !bit(wordAt(device.config, AT.slotLocked), slot);
}

/** The secret of a slot: its first 32 bytes. */
export function secretOf(device: Device, slot: number): Uint8Array {
  return slotBytes(device, slot).subarray(0, 32);
}

export function slotBytes(device: Device, slot: number): Uint8Array {
  const bytes = device.slots[slot];
  if (!bytes) throw new RangeError(`no slot ${slot}`);
  return bytes;
}

export function wordAt(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
}

export function bit(word: number, index: number): boolean {
  return ((word >> index) & 1) === 1;
}
