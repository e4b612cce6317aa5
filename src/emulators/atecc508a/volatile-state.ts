import type { ShaContext } from "./sha-context.ts";

/** What sleep, the watchdog and loss of power erase, and idle keeps. */
export interface VolatileState {
  tempKey: TempKey;
  /** 608: Message Digest Buffer, 32 or 64 bytes. */
  messageDigestBuffer: Uint8Array | undefined;
  /** 608: Alternate Key Buffer, 32 bytes. */
  alternateKeyBuffer: Uint8Array | undefined;
  /** AuthComplete: the slot whose key was shown to be known; undefined when AuthValid is 0. */
  authKeyId: number | undefined;
  sha: ShaContext | undefined;
}

export interface TempKey {
  /** 32 bytes; on the 608 also 64. Commands that do not say otherwise use the first 32. */
  value: Uint8Array;
  valid: boolean;
  keyId: number;
  /** 0 random, 1 fixed. */
  sourceFlag: 0 | 1;
  genDigData: boolean;
  genKeyData: boolean;
  noMacFlag: boolean;
  /** 608: a private key of GenKey, which only ECDH may use. */
  isPrivateKey: boolean;
}

export function freshState(): VolatileState {
  return {
    tempKey: {
      value: new Uint8Array(32),
      valid: false,
      keyId: 0,
      sourceFlag: 0,
      genDigData: false,
      genKeyData: false,
      noMacFlag: false,
      isPrivateKey: false,
    },
    messageDigestBuffer: undefined,
    alternateKeyBuffer: undefined,
    authKeyId: undefined,
    sha: undefined,
  };
}

/** A new value with all flags 0, as Nonce and CheckMac with copy leave it. */
export function loadTempKey(state: VolatileState, value: Uint8Array, sourceFlag: 0 | 1): void {
  state.tempKey = { ...freshState().tempKey, value: Uint8Array.from(value), valid: true, sourceFlag };
}

/** @returns the first 32 bytes when TempKey is valid and no private key, else undefined */
export function tempKeyValue({ tempKey }: VolatileState): Uint8Array | undefined {
  return tempKey.valid && !tempKey.isPrivateKey ? tempKey.value.subarray(0, 32) : undefined;
}

/** TempKey came from GenDig with the key of `keyId`, which is not a NoMac key: it may encrypt. */
export function isEncryptionKey({ tempKey }: VolatileState, keyId: number): boolean {
  return tempKey.valid && tempKey.genDigData && tempKey.keyId === keyId && !tempKey.noMacFlag;
}

/** TempKey flags as in Info State byte 0, Sign and Verify. */
export function flagsByte({ tempKey }: VolatileState): number {
  return (
    tempKey.keyId |
    (tempKey.sourceFlag << 4) |
    (Number(tempKey.genDigData) << 5) |
    (Number(tempKey.genKeyData) << 6) |
    (Number(tempKey.noMacFlag) << 7)
  );
}
