/** AES-256 in the ways a key of the vault uses it: SP 800-38D (GCM), RFC 3394 (key wrap), RFC 5649 (padded), SP 800-38A. */
import { type CipherGCM, createCipheriv, createDecipheriv, type DecipherGCM, getRandomValues } from "node:crypto";
import { concat, fromHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { CipherName } from "../../operations/key-types.ts";
import type { EncryptSpec } from "./material.ts";

export const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const BLOCK = 16;
const NONE = new Uint8Array(0);
/** Longest input; far above what a message to the vault holds. */
const MOST_BYTES = 2 ** 20;

interface AesWay {
  /** Whether it takes the length of a tag. */
  readonly tagged?: true;
  encrypt(key: Uint8Array, spec: EncryptSpec, plaintext: Uint8Array): Uint8Array;
  /** @returns the plain text, which the caller zeroes. @throws ThornkeyError `MALFORMED` when it is not authentic */
  decrypt(key: Uint8Array, spec: EncryptSpec, ciphertext: Uint8Array): Uint8Array;
}

export const AES: { readonly [Cipher in CipherName]?: AesWay } = {
  "aes-gcm": {
    encrypt(key, { aad, nonce }, plaintext) {
      if (nonce !== undefined) throw new ThornkeyError("MALFORMED", "the nonce of AES-GCM is made by the vault");
      const fresh = getRandomValues(new Uint8Array(NONCE_BYTES));
      return concat(fresh, sealGcm(key, fresh, plaintext, aad));
    },
    decrypt(key, { aad, nonce }, ciphertext) {
      if (nonce !== undefined && nonce.length !== NONCE_BYTES) {
        throw new ThornkeyError("MALFORMED", `a nonce of AES-GCM has ${NONCE_BYTES} bytes`);
      }
      if (nonce !== undefined) return openGcm(key, nonce, ciphertext, aad);
      return openGcm(key, ciphertext.subarray(0, NONCE_BYTES), ciphertext.subarray(NONCE_BYTES), aad);
    },
  },
  "aes-gcm-iv": {
    tagged: true,
    encrypt(key, { aad, nonce = NONE, tagLength }, plaintext) {
      mustBeNonce(nonce);
      return sealGcm(key, nonce, plaintext, aad, tagLength);
    },
    decrypt(key, { aad, nonce = NONE, tagLength }, ciphertext) {
      mustBeNonce(nonce);
      return openGcm(key, nonce, ciphertext, aad, tagLength);
    },
  },
  "aes-cbc": blocks("aes-256-cbc", BLOCK, (length) => length % BLOCK === 0),
  "aes-cbc-pad": blocks(
    "aes-256-cbc",
    BLOCK,
    () => true,
    (length) => length > 0 && length % BLOCK === 0,
    true,
  ),
  "aes-ctr": blocks("aes-256-ctr", BLOCK, () => true),
  "aes-ecb": blocks("aes-256-ecb", 0, (length) => length % BLOCK === 0),
  "aes-kw": keyWrap("id-aes256-wrap", "a6a6a6a6a6a6a6a6", (length) => length >= 16 && length % 8 === 0),
  "aes-kwp": keyWrap("id-aes256-wrap-pad", "a65959a6", (length) => length >= 1),
};

/**
 * AES-256-GCM.
 *
 * @param nonce 12 bytes, never twice with one key
 * @param authTagLength bytes, 12 to 16
 * @returns cipher text, then the tag
 */
export function sealGcm(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad?: Uint8Array,
  authTagLength = TAG_BYTES,
): Uint8Array {
  const cipher: CipherGCM = createCipheriv("aes-256-gcm", key, nonce, { authTagLength });
  if (aad !== undefined) cipher.setAAD(aad);
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

/** The reverse of {@link sealGcm}. @throws ThornkeyError `MALFORMED` when it is not authentic */
export function openGcm(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad?: Uint8Array,
  authTagLength = TAG_BYTES,
): Uint8Array {
  if (nonce.length === 0 || sealed.length < authTagLength) throw notAuthentic();
  const decipher: DecipherGCM = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength });
  if (aad !== undefined) decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(-authTagLength));
  const plaintext = decipher.update(sealed.subarray(0, -authTagLength));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    throw notAuthentic();
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
}

function mustBeNonce(nonce: Uint8Array): void {
  if (nonce.length >= 8 && nonce.length <= 64) return;
  throw new ThornkeyError("MALFORMED", "aes-gcm-iv needs a nonce of 8 to 64 bytes");
}

/**
 * A mode of SP 800-38A. Nothing in it tells whether a cipher text was changed.
 *
 * @param ivBytes how long the initialization vector (or the first counter block) is
 * @param fits whether so many bytes can be encrypted
 * @param fitsBack the same for decrypting
 */
function blocks(
  name: string,
  ivBytes: number,
  fits: (length: number) => boolean,
  fitsBack = fits,
  padded = false,
): AesWay {
  function vectorOf({ cipher, nonce = NONE, aad }: EncryptSpec): Uint8Array {
    if (aad !== undefined) throw new ThornkeyError("MALFORMED", `${cipher} has no additional data`);
    if (nonce.length === ivBytes) return nonce;
    throw new ThornkeyError(
      "MALFORMED",
      ivBytes === 0
        ? `${cipher} has no initialization vector`
        : `${cipher} needs ${ivBytes} bytes of initialization vector`,
    );
  }
  function mustFit({ cipher }: EncryptSpec, right: boolean): void {
    if (!right) throw new ThornkeyError("MALFORMED", `${cipher} takes whole blocks of ${BLOCK} bytes`);
  }
  return {
    encrypt(key, spec, plaintext) {
      const vector = vectorOf(spec);
      mustFit(spec, fits(plaintext.length));
      const cipher = createCipheriv(name, key, vector).setAutoPadding(padded);
      return concat(cipher.update(plaintext), cipher.final());
    },
    decrypt(key, spec, ciphertext) {
      const vector = vectorOf(spec);
      mustFit(spec, fitsBack(ciphertext.length));
      const decipher = createDecipheriv(name, key, vector).setAutoPadding(padded);
      const first = decipher.update(ciphertext);
      try {
        const last = decipher.final();
        const plaintext = concat(first, last);
        last.fill(0);
        return plaintext;
      } catch {
        throw new ThornkeyError("MALFORMED", "this does not decrypt: its padding is wrong");
      } finally {
        first.fill(0);
      }
    },
  };
}

/** @param fits whether so many bytes can be wrapped */
function keyWrap(name: string, initialValue: string, fits: (length: number) => boolean): AesWay {
  const iv = fromHex(initialValue);
  function mustHaveNoMore({ cipher, aad, nonce }: EncryptSpec): void {
    if (aad === undefined && nonce === undefined) return;
    throw new ThornkeyError("MALFORMED", `${cipher} has no nonce and no additional data`);
  }
  return {
    encrypt(key, spec, plaintext) {
      mustHaveNoMore(spec);
      if (!fits(plaintext.length) || plaintext.length > MOST_BYTES) {
        throw new ThornkeyError("MALFORMED", `${spec.cipher} does not wrap ${plaintext.length} bytes`, {
          hint: "aes-kw wraps 16 bytes or more in steps of 8, aes-kwp any number but 0",
        });
      }
      return new Uint8Array(createCipheriv(name, key, iv).update(plaintext));
    },
    decrypt(key, spec, ciphertext) {
      mustHaveNoMore(spec);
      if (ciphertext.length < 16 || ciphertext.length % 8 !== 0 || ciphertext.length > MOST_BYTES) throw notAuthentic();
      try {
        const unwrapped = createDecipheriv(name, key, iv).update(ciphertext);
        return new Uint8Array(unwrapped.buffer, unwrapped.byteOffset, unwrapped.length);
      } catch {
        throw notAuthentic();
      }
    },
  };
}

function notAuthentic(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "this does not decrypt: it was changed, or is under another key");
}
