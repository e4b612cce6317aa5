/**
 * `thornkey-1`: what each slot of a blank chip is made for. The configuration zone is locked with it, for ever; keys
 * can be made anew afterwards, their purpose cannot change.
 *
 * Why it looks like this:
 * - Every private key is made inside (WriteConfig 001x: GenKey, never PrivWrite) and can be made anew, which destroys
 *   the old one. `Lockable` lets an owner freeze a slot later.
 * - The evidence key signs only messages the chip itself composes (ReadKey 0010), so that nobody can have it sign a
 *   statement the chip does not make.
 * - ECDH results go into the slot beside (ReadKey bit 3) and come out only by encrypted read under the transport key.
 *   Who listens on the bus sees points and cipher text.
 * - The transport key works only after a random nonce (ReqRandom), so that a recorded exchange cannot be replayed. It
 *   must be usable by GenDig for encrypted reads, which NoMac would prevent; its MAC is of another length and shape than
 *   what GenDig hashes.
 * - It is written once, before the data zone is locked, and never again: whoever could write it, by whichever command,
 *   could read what leaves encrypted.
 * - No slot in use has ReadKey 0, which would make it the source of CheckMac's copy into TempKey.
 */
import { equal } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";
import {
  CONFIG,
  configWords,
  formatKeyConfig,
  formatSlotConfig,
  KEY_TYPE,
  type KeyConfig,
  type SlotConfig,
} from "./config.ts";
import type { Model } from "./times.ts";

export const PROFILE_NAME = "thornkey-1";

/** What the slots are for. */
export const SLOTS = {
  identity: 0,
  evidence: 1,
  storage: 2,
  storageResult: 3,
  agreement: 4,
  agreementResult: 5,
  transport: 6,
  secret: 7,
  certificates: 8,
  userKeys: [9, 10, 11, 12, 13],
  wideSecret: 14,
  certificate: 15,
} as const;

/** One line of the profile. */
export interface ProfileSlot {
  readonly number: number;
  readonly purpose: string;
  readonly slotConfig: SlotConfig;
  readonly keyConfig: KeyConfig;
}

const WRITE = { never: 0b1000, encrypted: 0b0100, genKey: 0b0010 } as const;
const READ_KEY = { signDigest: 0b0001, signInternal: 0b0010, ecdhIntoNext: 0b1100 } as const;

function privateKey(readKey: number): Pick<ProfileSlot, "slotConfig" | "keyConfig"> {
  return {
    slotConfig: { ...PLAIN_SLOT, readKey, isSecret: true, writeConfig: WRITE.genKey },
    keyConfig: { ...PLAIN_KEY, private: true, pubInfo: true, keyType: KEY_TYPE.p256, lockable: true },
  };
}

function storage(
  options: Partial<SlotConfig>,
  key: Partial<KeyConfig> = {},
): Pick<ProfileSlot, "slotConfig" | "keyConfig"> {
  return {
    slotConfig: {
      ...PLAIN_SLOT,
      readKey: SLOTS.transport,
      writeKey: SLOTS.transport,
      writeConfig: WRITE.encrypted,
      ...options,
    },
    keyConfig: { ...PLAIN_KEY, lockable: true, ...key },
  };
}

const PLAIN_SLOT: SlotConfig = {
  readKey: 0,
  noMac: false,
  limitedUse: false,
  encryptRead: false,
  isSecret: false,
  writeKey: 0,
  writeConfig: 0,
};
const PLAIN_KEY: KeyConfig = {
  private: false,
  pubInfo: false,
  keyType: KEY_TYPE.other,
  lockable: false,
  reqRandom: false,
  reqAuth: false,
  authKey: 0,
  intrusionDisable: false,
  x509id: 0,
};

const agreed = storage({ isSecret: true, encryptRead: true, writeConfig: WRITE.never }, { lockable: false });
const transport = storage({ isSecret: true, writeConfig: WRITE.never }, { reqRandom: true });
const kept = storage({ isSecret: true, encryptRead: true });

export const PROFILE: readonly ProfileSlot[] = [
  { number: 0, purpose: "device identity", ...privateKey(READ_KEY.signDigest) },
  { number: 1, purpose: "evidence: signs only what the chip itself says", ...privateKey(READ_KEY.signInternal) },
  { number: 2, purpose: "storage: opens the store by ECDH", ...privateKey(READ_KEY.ecdhIntoNext) },
  { number: 3, purpose: "result of slot 2", ...agreed },
  { number: 4, purpose: "user key: agree", ...privateKey(READ_KEY.ecdhIntoNext) },
  { number: 5, purpose: "result of slot 4", ...agreed },
  { number: 6, purpose: "transport key: hides what crosses the bus", ...transport },
  { number: 7, purpose: "secret", ...kept },
  { number: 8, purpose: "certificates", ...storage({}) },
  ...SLOTS.userKeys.map((number) => ({ number, purpose: "user key: sign", ...privateKey(READ_KEY.signDigest) })),
  { number: 14, purpose: "secret, 72 bytes", ...kept },
  { number: 15, purpose: "certificate, compressed", ...storage({}) },
];

/** Every slot for a private key gets one of its own when the chip is provisioned. */
export const PRIVATE_KEYS: readonly number[] = PROFILE.filter(({ keyConfig }) => keyConfig.private).map(
  ({ number }) => number,
);

/** OTP: the profile's name, so that the chip tells what it was made for. 64 bytes. */
export function profileOtp(): Uint8Array {
  const otp = new Uint8Array(64);
  otp.set(new TextEncoder().encode(PROFILE_NAME));
  return otp;
}

/** One run of bytes the profile sets in the configuration zone. */
export interface ProfileField {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * What the profile writes into the configuration zone; everything else stays as the factory left it.
 *
 * @param current 128 bytes: words are written whole, so the neighbours of a field come from here
 */
export function profileFields(model: Model, current: Uint8Array): ProfileField[] {
  const slotConfigs = configWords(PROFILE.map(({ slotConfig }) => formatSlotConfig(slotConfig)));
  const keyConfigs = configWords(PROFILE.map(({ keyConfig }) => formatKeyConfig(keyConfig)));
  const address = current[CONFIG.i2cAddress] ?? 0;
  const besideAddress = current[CONFIG.i2cAddress + 1] ?? 0;
  // Byte 18: OTP read-only on the 508A, no CountMatch on the 608. ChipMode 0: own address, short watchdog, fast clock.
  const mode = new Writer(4)
    .u8(address)
    .u8(besideAddress)
    .u8(model === "508a" ? 0xaa : 0x00)
    .u8(0x00);
  const counters = new Writer(16).put(COUNTER_AT_ZERO).put(COUNTER_AT_ZERO).done();
  // LastKeyUse: slot 15 is not limited. 608: UseLock, VolatileKeyPermit, SecureBoot off, KdfIv zero.
  const uses = new Uint8Array(16).fill(model === "508a" ? 0xff : 0x00);
  // All slots unlocked. 608 ChipOptions: no IO protection; the transport key protects the bus on both models.
  const locks = new Writer(8).u16le(0xffff).zeros(6).done();
  return [
    { offset: CONFIG.i2cAddress, bytes: mode.done() },
    { offset: CONFIG.slotConfig, bytes: slotConfigs },
    { offset: CONFIG.counter0, bytes: counters },
    { offset: 68, bytes: uses },
    { offset: CONFIG.slotLocked, bytes: locks },
    { offset: CONFIG.keyConfig, bytes: keyConfigs },
  ];
}

/** @returns a copy of `current` as it must be after the profile was written; 128 bytes */
export function profileConfig(model: Model, current: Uint8Array): Uint8Array {
  const config = current.slice();
  for (const { offset, bytes } of profileFields(model, current)) config.set(bytes, offset);
  return config;
}

/** Whether a chip has this profile: the fields that decide what its slots can do. */
export function hasProfile(config: Uint8Array): boolean {
  const words = (offset: number) => config.subarray(offset, offset + 32);
  const slotConfigs = configWords(PROFILE.map(({ slotConfig }) => formatSlotConfig(slotConfig)));
  const keyConfigs = configWords(PROFILE.map(({ keyConfig }) => formatKeyConfig(keyConfig)));
  return equal(words(CONFIG.slotConfig), slotConfigs) && equal(words(CONFIG.keyConfig), keyConfigs);
}

/** The counter's coding of 0. */
const COUNTER_AT_ZERO = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0);
