import { nativeOpenSsl, type OpenSsl, type Pointer } from "./library.ts";

/**
 * How an operation is set up: names and values for EVP_PKEY_CTX_ctrl_str. The contexts of equal ids are shared, so an id
 * says all that its parameters say.
 */
export interface Setting {
  readonly id: string;
  readonly parameters: readonly (readonly [name: string, value: string])[];
}

/**
 * A key as an object of OpenSSL. Every operation throws {@link OpenSslFailure} when OpenSSL refuses, but `verify`, which
 * answers false; none leaves anything in OpenSSL's queue of errors, where `node:crypto` would find it.
 */
export interface NativeKey {
  /**
   * EVP_PKEY_sign.
   *
   * @param digest already there; with a parameter `digest` it must be as long as that one's
   * @returns a view that holds until the next call of any key: DER for ECDSA
   */
  signDigest(setting: Setting, digest: Uint8Array): Uint8Array;
  /** The same in another thread, for keys that take long. The bytes are the caller's. */
  signDigestInBackground(setting: Setting, digest: Uint8Array): Promise<Uint8Array>;
  /** EVP_DigestSign without a digest: Ed25519. */
  signMessage(message: Uint8Array): Uint8Array;
  verifyDigest(setting: Setting, digest: Uint8Array, signature: Uint8Array): boolean;
  verifyMessage(message: Uint8Array, signature: Uint8Array): boolean;
  /** EVP_PKEY_derive. @param peerSpki its point is checked. @returns the shared secret, which the caller zeroes */
  agree(peerSpki: Uint8Array): Uint8Array;
  encrypt(setting: Setting, plaintext: Uint8Array): Uint8Array;
  /** @returns the plain text, which the caller zeroes */
  decrypt(setting: Setting, ciphertext: Uint8Array): Uint8Array;
  /** EVP_PKEY_check: ranges, the point, and that private and public part belong together. Slow for RSA. */
  isConsistent(): boolean;
  /** Frees the key, which zeroes its private part, and its contexts. Operations afterwards throw. */
  close(): void;
}

export class OpenSslFailure extends Error {
  override readonly name = "OpenSslFailure";
}

/** Bytes of the longest signature: RSA of 4096 bits. DER of P-521 has at most 139. */
const LONGEST = 512;
/** Contexts kept ready for one key; more settings than that are not in use at the same time. */
const MOST_CONTEXTS = 8;
/** Operations in the background at once; koffi refuses more than some hundreds. */
const MOST_IN_BACKGROUND = 64;

let inBackground = 0;

/** Where OpenSSL writes to, and how much it was: made once and for all keys, so that a signature costs no allocation. */
const scratch = new Uint8Array(new ArrayBuffer(LONGEST));
const length = new Uint32Array(new ArrayBuffer(8));

/** What a key owns outside JavaScript. */
interface Owned {
  readonly ssl: OpenSsl;
  key: Pointer;
  readonly contexts: Map<string, Pointer>;
}

/**
 * Keys nobody closed are freed when they are collected. Those that were closed stay registered, and are nothing then:
 * unregistering makes V8's table of tokens grow without end.
 */
const forgotten = new FinalizationRegistry<Owned>(free);

/** @param der PKCS#8, SEC1 or PKCS#1. @returns undefined when OpenSSL does not read it, or is not there */
export function openPrivateKey(der: Uint8Array): NativeKey | undefined {
  const ssl = nativeOpenSsl();
  return ssl === null ? undefined : wrapped(ssl, ssl.d2i_AutoPrivateKey(null, [der], der.length));
}

/** @param spki SubjectPublicKeyInfo in DER. @returns undefined when OpenSSL does not read it, or is not there */
export function openPublicKey(spki: Uint8Array): NativeKey | undefined {
  const ssl = nativeOpenSsl();
  return ssl === null ? undefined : wrapped(ssl, ssl.d2i_PUBKEY(null, [spki], spki.length));
}

function wrapped(ssl: OpenSsl, key: Pointer): NativeKey | undefined {
  if (key === null) {
    ssl.ERR_clear_error();
    return undefined;
  }
  const owned: Owned = { ssl, key, contexts: new Map() };
  const native = createNativeKey(owned);
  forgotten.register(native, owned);
  return native;
}

function free(owned: Owned): void {
  const { ssl, key, contexts } = owned;
  if (key === null) return;
  owned.key = null;
  for (const context of contexts.values()) ssl.EVP_PKEY_CTX_free(context);
  contexts.clear();
  ssl.EVP_PKEY_free(key);
}

/** It must not refer to its own result, or nothing would ever be collected. */
function createNativeKey(owned: Owned): NativeKey {
  const { ssl, contexts } = owned;
  function fail(): never {
    ssl.ERR_clear_error();
    scratch.fill(0); // half of something secret may be there
    throw new OpenSslFailure("OpenSSL refused");
  }

  function mustBeOpen(): void {
    if (owned.key === null) throw new OpenSslFailure("this key is closed");
  }

  function newContext(init: (context: Pointer) => number, { parameters }: Setting): Pointer {
    mustBeOpen();
    const context = ssl.EVP_PKEY_CTX_new(owned.key, null);
    const ready =
      context !== null &&
      init(context) === 1 &&
      parameters.every(([name, value]) => ssl.EVP_PKEY_CTX_ctrl_str(context, name, value) > 0);
    if (!ready) {
      ssl.EVP_PKEY_CTX_free(context);
      fail();
    }
    return context;
  }

  /** @param id of setting and operation */
  function keptContext(id: string, init: (context: Pointer) => number, setting: Setting): Pointer {
    const kept = contexts.get(id);
    if (kept !== undefined) return kept;
    const context = newContext(init, setting);
    if (contexts.size >= MOST_CONTEXTS) dropOldest();
    contexts.set(id, context);
    return context;
  }

  function dropOldest(): void {
    for (const [id, context] of contexts) {
      ssl.EVP_PKEY_CTX_free(context);
      contexts.delete(id);
      return;
    }
  }

  function once<Result>(
    init: (context: Pointer) => number,
    setting: Setting,
    act: (context: Pointer) => Result,
  ): Result {
    const context = newContext(init, setting);
    try {
      return act(context);
    } finally {
      ssl.EVP_PKEY_CTX_free(context);
    }
  }

  function signDigest(setting: Setting, digest: Uint8Array): Uint8Array {
    mustBeOpen();
    const context = keptContext(setting.id, ssl.EVP_PKEY_sign_init, setting);
    announce(length, LONGEST);
    if (ssl.EVP_PKEY_sign(context, scratch, length, digest, digest.length) !== 1) fail();
    return scratch.subarray(0, length[0]);
  }

  /** @returns what came out, in an array of its own; `scratch` is zeroed */
  function taken(): Uint8Array {
    const result = scratch.slice(0, length[0]);
    scratch.fill(0);
    return result;
  }

  return {
    signDigest,
    async signDigestInBackground(setting, digest) {
      if (inBackground >= MOST_IN_BACKGROUND) return signDigest(setting, digest).slice();
      // A context of its own: it holds the key, which may be closed meanwhile, and is used by one thread at a time.
      const context = newContext(ssl.EVP_PKEY_sign_init, setting);
      inBackground++;
      const own = new Uint8Array(new ArrayBuffer(LONGEST));
      const input = new Uint8Array(new ArrayBuffer(digest.length));
      input.set(digest);
      const ownLength = new Uint32Array(new ArrayBuffer(8));
      announce(ownLength, LONGEST);
      try {
        const result = await new Promise<number>((resolve, reject) => {
          ssl.EVP_PKEY_sign.async(context, own, ownLength, input, input.length, (error, value) => {
            if (error) reject(error);
            else resolve(value);
          });
        });
        if (result !== 1) fail();
        return own.slice(0, ownLength[0]);
      } finally {
        inBackground--;
        ssl.EVP_PKEY_CTX_free(context);
      }
    },
    signMessage(message) {
      mustBeOpen();
      const context = ssl.EVP_MD_CTX_new();
      try {
        announce(length, LONGEST);
        const signed =
          ssl.EVP_DigestSignInit(context, null, null, null, owned.key) === 1 &&
          ssl.EVP_DigestSign(context, scratch, length, message, message.length) === 1;
        return signed ? taken() : fail();
      } finally {
        ssl.EVP_MD_CTX_free(context);
      }
    },
    verifyDigest(setting, digest, signature) {
      mustBeOpen();
      const context = keptContext(`verify ${setting.id}`, ssl.EVP_PKEY_verify_init, setting);
      const right = ssl.EVP_PKEY_verify(context, signature, signature.length, digest, digest.length) === 1;
      if (!right) ssl.ERR_clear_error();
      return right;
    },
    verifyMessage(message, signature) {
      mustBeOpen();
      const context = ssl.EVP_MD_CTX_new();
      try {
        const right =
          ssl.EVP_DigestVerifyInit(context, null, null, null, owned.key) === 1 &&
          ssl.EVP_DigestVerify(context, signature, signature.length, message, message.length) === 1;
        if (!right) ssl.ERR_clear_error();
        return right;
      } finally {
        ssl.EVP_MD_CTX_free(context);
      }
    },
    agree(peerSpki) {
      const peer = ssl.d2i_PUBKEY(null, [peerSpki], peerSpki.length);
      if (peer === null) fail();
      try {
        return once(ssl.EVP_PKEY_derive_init, PLAIN, (context) => {
          announce(length, LONGEST);
          const agreed =
            ssl.EVP_PKEY_derive_set_peer(context, peer) === 1 && ssl.EVP_PKEY_derive(context, scratch, length) === 1;
          return agreed ? taken() : fail();
        });
      } finally {
        ssl.EVP_PKEY_free(peer);
      }
    },
    encrypt: (setting, plaintext) =>
      once(ssl.EVP_PKEY_encrypt_init, setting, (context) => {
        announce(length, LONGEST);
        return ssl.EVP_PKEY_encrypt(context, scratch, length, plaintext, plaintext.length) === 1 ? taken() : fail();
      }),
    decrypt: (setting, ciphertext) =>
      once(ssl.EVP_PKEY_decrypt_init, setting, (context) => {
        announce(length, LONGEST);
        return ssl.EVP_PKEY_decrypt(context, scratch, length, ciphertext, ciphertext.length) === 1 ? taken() : fail();
      }),
    isConsistent() {
      const checked = once(
        () => 1,
        PLAIN,
        (context) => ssl.EVP_PKEY_check(context) === 1,
      );
      if (!checked) ssl.ERR_clear_error();
      return checked;
    },
    close() {
      free(owned);
    },
  };
}

/** Nothing to set up. */
const PLAIN: Setting = { id: "", parameters: [] };

/** Writes a size_t of 4 or 8 bytes; every Pi is little endian. */
function announce(length: Uint32Array, bytes: number): void {
  length[0] = bytes;
  length[1] = 0;
}
