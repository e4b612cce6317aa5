/**
 * What the firmware can be asked, as the raspberrypi/utils library `rpifwcrypto` and the kernel's `raspberrypi-firmware.h`
 * number it.
 */
export const TAG = {
  firmwareRevision: 0x0000_0001,
  boardRevision: 0x0001_0002,
  boardSerial: 0x0001_0004,
  lastError: 0x0003_008e,
  numberOfKeys: 0x0003_008f,
  keyStatus: 0x0003_0090,
  sign: 0x0003_0091,
  hmac: 0x0003_0092,
  publicKey: 0x0003_0093,
  privateKey: 0x0003_0094,
  generateKey: 0x0003_0095,
  usage: 0x0003_009c,
  setKeyStatus: 0x0003_8090,
  setUsage: 0x0003_809c,
} as const;

/** What the kernel lets through on /dev/vcio_crypto: as read, without the two usage tags. */
export const RESTRICTED: ReadonlySet<number> = new Set([
  TAG.lastError,
  TAG.numberOfKeys,
  TAG.keyStatus,
  TAG.setKeyStatus,
  TAG.sign,
  TAG.hmac,
  TAG.publicKey,
  TAG.privateKey,
  TAG.generateKey,
]);

export const ERROR = {
  none: 0,
  unknown: 1,
  invalidArgument: 2,
  noSuchKey: 3,
  locked: 4,
  otp: 5,
  keyNotSet: 6,
  keyInvalid: 7,
  notSupported: 8,
  failed: 9,
  notBlank: 10,
} as const;

/** Bits of the status of a key. */
export const STATUS = {
  deviceKey: 1 << 0,
  read: 1 << 8,
  generate: 1 << 9,
  sign: 1 << 10,
  hmac: 1 << 11,
  usage: 1 << 12,
} as const;

/** The locks there are; firmware from before 2026-06 has only {@link STATUS.read}. */
export const ALL_LOCKS = 0x1f00;

/** Longest message of an HMAC, bytes. */
export const LONGEST_MESSAGE = 2048;
