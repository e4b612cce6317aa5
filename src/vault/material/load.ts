import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { canDo, factsOf, type KeyType, sizeOf } from "../../operations/key-types.ts";
import { pointOf } from "../../operations/public-keys.ts";
import { AES } from "./aes.ts";
import { type Engine, type OpenEngine, openNativeEngine, openPortableEngine } from "./engine.ts";
import { hkdf } from "./hkdf.ts";
import { hmac } from "./hmac.ts";
import type { EncryptSpec, LoadedKey } from "./material.ts";
import { typeOfPkcs8 } from "./pkcs8.ts";
import { checkSignSpec, maximumPlaintext, notSupported } from "./settings.ts";

/**
 * Makes a key ready for use.
 *
 * @param secret as in `NewMaterial`; it stays the caller's
 * @throws ThornkeyError `MALFORMED` when it is no key of that type
 */
export function loadKey(type: KeyType, secret: Secret): LoadedKey {
  return loadKeyWith(type, secret, (...key) => openNativeEngine(...key) ?? openPortableEngine(...key));
}

/** The same with a certain engine. */
export function loadKeyWith(type: KeyType, secret: Secret, open: OpenEngine): LoadedKey {
  return factsOf(type).family === "symmetric" ? loadSymmetric(type, secret) : loadAsymmetric(type, secret, open);
}

function loadAsymmetric(type: KeyType, secret: Secret, open: OpenEngine): LoadedKey {
  let engine = secret.use((pkcs8) =>
    attempt("MALFORMED", `not a private key of type ${type}`, () =>
      typeOfPkcs8(pkcs8) === type ? open(type, pkcs8) : undefined,
    ),
  );
  if (engine === undefined) throw new ThornkeyError("MALFORMED", `not a private key of type ${type}`);
  const own = copyOf(secret);

  function opened(): Engine {
    return engine ?? closed();
  }

  function agreed(peer: Uint8Array): Uint8Array {
    const using = opened();
    if (pointOf(type, peer) === undefined) throw notAPeer(type);
    const shared = attempt("MALFORMED", notAPeer(type).message, () => using.agree(peer));
    // RFC 7748, 6.1: a point of small order makes the same secret with every key.
    if (shared.every((byte) => byte === 0)) throw notAPeer(type);
    return shared;
  }

  return {
    ...refusing(type),
    sign(spec, data, elsewhere = false) {
      const using = opened();
      checkSignSpec(type, spec, data);
      return attempt("FAILED", "OpenSSL did not sign", () => using.sign(spec, data, elsewhere));
    },
    ...(canDo(type, "ecdh") && {
      agree: (peer) => new Secret(agreed(peer)),
      derive: (spec) => {
        if (spec.peer === undefined) throw new ThornkeyError("MALFORMED", `a key of type ${type} derives with a peer`);
        return hkdf(agreed(spec.peer), spec);
      },
    }),
    ...(canDo(type, "rsa-oaep") && {
      encrypt(spec, plaintext) {
        const using = opened();
        mustBeForRsa(type, spec);
        const most = maximumPlaintext(type, spec);
        if (plaintext.length > most || (spec.cipher === "rsa-raw" && plaintext.length < most)) {
          const bytes = spec.cipher === "rsa-raw" ? `exactly ${most}` : `at most ${most}`;
          throw new ThornkeyError("MALFORMED", `${type} encrypts ${bytes} bytes with ${spec.cipher}`, {
            hint: "encrypt a key with it, and the data with that",
          });
        }
        return attempt("FAILED", "OpenSSL did not encrypt", () => using.encrypt(spec, plaintext));
      },
      decrypt(spec, ciphertext) {
        const using = opened();
        mustBeForRsa(type, spec);
        if (ciphertext.length !== sizeOf(type)) throw new ThornkeyError("MALFORMED", "this does not decrypt");
        return new Secret(attempt("MALFORMED", "this does not decrypt", () => using.decrypt(spec, ciphertext)));
      },
    }),
    export: () => (own.length === 0 ? closed() : copyOf(own)),
    close() {
      engine?.close();
      engine = undefined;
      own.destroy();
    },
  } satisfies LoadedKey;
}

function loadSymmetric(type: KeyType, secret: Secret): LoadedKey {
  if (secret.length !== SYMMETRIC_BYTES) throw new ThornkeyError("MALFORMED", `not a key of type ${type}`);
  const own = copyOf(secret);
  const using = <Result>(act: (key: Uint8Array) => Result): Result => (own.length === 0 ? closed() : own.use(act));
  return {
    ...refusing(type),
    ...(canDo(type, "aes-gcm") && {
      encrypt: (spec, plaintext) => using((key) => aesOf(type, spec).encrypt(key, spec, plaintext)),
      decrypt: (spec, ciphertext) => using((key) => new Secret(aesOf(type, spec).decrypt(key, spec, ciphertext))),
    }),
    ...(canDo(type, "hmac") && {
      mac: (digest, data) => using((key) => hmac(digest, key, data)),
      derive(spec) {
        if (spec.peer !== undefined)
          throw new ThornkeyError("MALFORMED", `a key of type ${type} derives without a peer`);
        return using((key) => hkdf(new Uint8Array(key), spec));
      },
    }),
    export: () => (own.length === 0 ? closed() : copyOf(own)),
    close: () => own.destroy(),
  } satisfies LoadedKey;
}

/** What a symmetric key of any type has. */
export const SYMMETRIC_BYTES = 32;

/** Every operation, refused. */
function refusing(type: KeyType) {
  const refuse = (what: string) => (): never => {
    throw notSupported(type, what);
  };
  return {
    type,
    sign: refuse("signatures"),
    agree: refuse("agreements"),
    encrypt: refuse("encryption"),
    decrypt: refuse("decryption"),
    mac: refuse("MACs"),
    derive: refuse("derivation"),
  };
}

function mustBeForRsa(type: KeyType, { cipher, nonce, aad, tagLength, label, digest }: EncryptSpec): void {
  if (!canDo(type, cipher)) throw notSupported(type, cipher);
  if (nonce !== undefined || aad !== undefined || tagLength !== undefined) {
    throw new ThornkeyError("MALFORMED", `${cipher} has no nonce, no tag and no additional data`);
  }
  if (cipher !== "rsa-oaep" && (label !== undefined || digest !== undefined)) {
    throw new ThornkeyError("MALFORMED", `${cipher} has no label and no digest`);
  }
}

function aesOf(type: KeyType, { cipher, label, digest, tagLength }: EncryptSpec) {
  const way = AES[cipher];
  if (way === undefined) throw notSupported(type, cipher);
  if (label !== undefined || digest !== undefined) {
    throw new ThornkeyError("MALFORMED", `${cipher} has no label and no digest`);
  }
  if (tagLength !== undefined && !way.tagged) {
    throw new ThornkeyError("MALFORMED", `${cipher} has no tag of a length of one's choice`);
  }
  return way;
}

/** Turns what OpenSSL throws into an error of the house. Its own says nothing more, and must not show any input. */
function attempt<Result>(code: "FAILED" | "MALFORMED", sentence: string, act: () => Result): Result {
  const translated = (error: unknown): never => {
    throw error instanceof ThornkeyError ? error : new ThornkeyError(code, sentence);
  };
  try {
    const result = act();
    return result instanceof Promise ? (result.catch(translated) as Result) : result;
  } catch (error) {
    return translated(error);
  }
}

function copyOf(secret: Secret): Secret {
  return new Secret(secret.use((bytes) => new Uint8Array(bytes)));
}

function notAPeer(type: KeyType): ThornkeyError {
  return new ThornkeyError("MALFORMED", `not a public key of type ${type} (SubjectPublicKeyInfo) to agree with`);
}

function closed(): never {
  throw new ThornkeyError("FAILED", "this key is closed");
}
