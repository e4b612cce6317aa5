import { createCipheriv, createDecipheriv, createSecretKey } from "node:crypto";
import { loadKoffi } from "../libc.ts";
import type { Pointer } from "./library.ts";

/**
 * ChaCha20-Poly1305 (RFC 8439) from buffer to buffer. `node:crypto` puts everything into new arrays, which for bulk data
 * costs more time than the cipher and much memory; so OpenSSL is called directly where Node exports its functions.
 */
export interface ChaCha20Poly1305 {
  /** @param nonce 12 bytes, never twice. @param out takes the sealed bytes, 16 more than `plain` */
  seal(nonce: Uint8Array, plain: Uint8Array, out: Uint8Array): void;
  /**
   * @param sealed at least 16 bytes
   * @param out takes the plain bytes, 16 fewer than `sealed`
   * @returns false when it is not authentic; `out` is zeroed then
   */
  open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array): boolean;
  /** Forgets the key; afterwards nothing else may be called. */
  close(): void;
}

export const CHACHA_TAG_BYTES = 16;
const NONCE_BYTES = 12;

/** OpenSSL 3.0, man3: EVP_EncryptInit. */
const PROTOTYPES = {
  EVP_chacha20_poly1305: "void *EVP_chacha20_poly1305()",
  EVP_CIPHER_CTX_new: "void *EVP_CIPHER_CTX_new()",
  EVP_CIPHER_CTX_free: "void EVP_CIPHER_CTX_free(void *context)",
  EVP_CIPHER_CTX_ctrl: "int EVP_CIPHER_CTX_ctrl(void *context, int type, int argument, void *pointer)",
  EVP_CipherInit_ex:
    "int EVP_CipherInit_ex(void *context, void *type, void *engine, const void *key, const void *nonce, int encrypt)",
  EVP_CipherUpdate: "int EVP_CipherUpdate(void *context, void *out, void *outLength, const void *in, int inLength)",
  EVP_CipherFinal_ex: "int EVP_CipherFinal_ex(void *context, void *out, void *outLength)",
  ERR_clear_error: "void ERR_clear_error()",
} as const;

interface Evp {
  EVP_chacha20_poly1305(): Pointer;
  EVP_CIPHER_CTX_new(): Pointer;
  EVP_CIPHER_CTX_free(context: Pointer): void;
  EVP_CIPHER_CTX_ctrl(context: Pointer, type: number, argument: number, pointer: Uint8Array): number;
  EVP_CipherInit_ex(
    context: Pointer,
    type: Pointer,
    engine: null,
    key: Uint8Array | null,
    nonce: Uint8Array | null,
    encrypt: number,
  ): number;
  EVP_CipherUpdate(
    context: Pointer,
    out: Uint8Array,
    outLength: Int32Array,
    input: Uint8Array,
    inputLength: number,
  ): number;
  EVP_CipherFinal_ex(context: Pointer, out: Uint8Array, outLength: Int32Array): number;
  ERR_clear_error(): void;
}

const GET_TAG = 0x10;
const SET_TAG = 0x11;
const ENCRYPT = 1;
const DECRYPT = 0;

/** undefined: not looked up yet; null: this Node does not export the functions. */
let evp: Evp | null | undefined;

function nativeEvp(): Evp | null {
  if (evp === undefined) {
    try {
      const library = loadKoffi().load(null);
      const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]);
      evp = Object.fromEntries(functions) as Evp;
    } catch {
      evp = null;
    }
  }
  return evp;
}

/** @param key 32 bytes, copied */
export function chaCha20Poly1305(key: Uint8Array): ChaCha20Poly1305 {
  const native = nativeEvp();
  return native === null ? portableChaCha(key) : nativeChaCha(native, key);
}

function nativeChaCha(native: Evp, key: Uint8Array): ChaCha20Poly1305 {
  const type = native.EVP_chacha20_poly1305();
  const contextFor = (direction: number) => {
    const made = native.EVP_CIPHER_CTX_new();
    if (native.EVP_CipherInit_ex(made, type, null, key, null, direction) !== 1) throw failed();
    return made;
  };
  // What a call writes besides its result: a length, the end of a stream cipher's output, which is nothing.
  const length = new Int32Array(1);
  const end = new Uint8Array(CHACHA_TAG_BYTES);
  const tag = new Uint8Array(CHACHA_TAG_BYTES);
  const sealing = contextFor(ENCRYPT);
  const opening = contextFor(DECRYPT);
  const begin = (context: Pointer, nonce: Uint8Array, input: Uint8Array, out: Uint8Array, direction: number) => {
    checkNonce(nonce);
    if (native.EVP_CipherInit_ex(context, null, null, null, nonce, direction) !== 1) throw failed();
    if (input.length > 0 && native.EVP_CipherUpdate(context, out, length, input, input.length) !== 1) throw failed();
  };
  return {
    seal(nonce, plain, out) {
      checkSpace(plain.length + CHACHA_TAG_BYTES, out);
      begin(sealing, nonce, plain, out, ENCRYPT);
      if (native.EVP_CipherFinal_ex(sealing, end, length) !== 1) throw failed();
      if (native.EVP_CIPHER_CTX_ctrl(sealing, GET_TAG, CHACHA_TAG_BYTES, tag) !== 1) throw failed();
      out.set(tag, plain.length);
    },
    open(nonce, sealed, out) {
      const size = sealed.length - CHACHA_TAG_BYTES;
      if (size < 0) throw new RangeError("shorter than its tag");
      checkSpace(size, out);
      begin(opening, nonce, sealed.subarray(0, size), out, DECRYPT);
      tag.set(sealed.subarray(size));
      if (native.EVP_CIPHER_CTX_ctrl(opening, SET_TAG, CHACHA_TAG_BYTES, tag) !== 1) throw failed();
      if (native.EVP_CipherFinal_ex(opening, end, length) === 1) return true;
      // A failure may leave entries in this thread's error queue, where node:crypto would find them.
      native.ERR_clear_error();
      out.fill(0, 0, size);
      return false;
    },
    close() {
      native.EVP_CIPHER_CTX_free(sealing);
      native.EVP_CIPHER_CTX_free(opening);
    },
  };
}

/** OpenSSL's results come in new arrays; the allocator is twice as fast with small ones. */
const STEP_BYTES = 16_384;

/** The slow way of {@link chaCha20Poly1305}, with the same contract. */
export function portableChaCha(bytes: Uint8Array): ChaCha20Poly1305 {
  const key = createSecretKey(bytes);
  const options = { authTagLength: CHACHA_TAG_BYTES } as const;
  const run = (update: (step: Uint8Array) => Uint8Array, input: Uint8Array, out: Uint8Array) => {
    for (let at = 0; at < input.length; at += STEP_BYTES) out.set(update(input.subarray(at, at + STEP_BYTES)), at);
  };
  return {
    seal(nonce, plain, out) {
      checkNonce(nonce);
      checkSpace(plain.length + CHACHA_TAG_BYTES, out);
      const cipher = createCipheriv("chacha20-poly1305", key, nonce, options);
      run((step) => cipher.update(step), plain, out);
      cipher.final();
      out.set(cipher.getAuthTag(), plain.length);
    },
    open(nonce, sealed, out) {
      const size = sealed.length - CHACHA_TAG_BYTES;
      if (size < 0) throw new RangeError("shorter than its tag");
      checkNonce(nonce);
      checkSpace(size, out);
      const decipher = createDecipheriv("chacha20-poly1305", key, nonce, options);
      decipher.setAuthTag(sealed.subarray(size));
      run((step) => decipher.update(step), sealed.subarray(0, size), out);
      try {
        decipher.final();
        return true;
      } catch {
        out.fill(0, 0, size);
        return false;
      }
    },
    close() {
      // Node frees the key with the garbage.
    },
  };
}

function checkNonce(nonce: Uint8Array): void {
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`a nonce of ${nonce.length} bytes`);
}

function checkSpace(needed: number, out: Uint8Array): void {
  if (out.length < needed) throw new RangeError(`${needed} bytes into ${out.length}`);
}

function failed(): Error {
  return new Error("OpenSSL refused ChaCha20-Poly1305");
}
