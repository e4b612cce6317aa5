/**
 * The two ways to use an asymmetric private key: natively, which signs digests and frees the key when told to, and
 * through `node:crypto` where OpenSSL's own functions are hidden, which does neither.
 */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hash,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  sign,
} from "node:crypto";
import { ecdsaSignatureFromDer } from "../../bytes/ecdsa-signature.ts";
import { ThornkeyError } from "../../errors.ts";
import { type NativeKey, openPrivateKey } from "../../machine/openssl/native-key.ts";
import { DIGESTS, factsOf, type KeyFamily, type KeyType, sizeOf } from "../../operations/key-types.ts";
import type { EncryptSpec, SignSpec } from "./material.ts";
import { cipherSetting, DEFAULT_OAEP_DIGEST, notSupported, signSetting } from "./settings.ts";

/** Specifications are checked before. What OpenSSL refuses throws its own errors. */
export interface Engine {
  /** @param elsewhere in another thread, where that can be */
  sign(spec: SignSpec, data: Uint8Array, elsewhere: boolean): Uint8Array | Promise<Uint8Array>;
  /** The results of these two are zeroed by the caller. */
  agree(peerSpki: Uint8Array): Uint8Array;
  decrypt(spec: EncryptSpec, ciphertext: Uint8Array): Uint8Array;
  encrypt(spec: EncryptSpec, plaintext: Uint8Array): Uint8Array;
  close(): void;
}

export type OpenEngine = (type: KeyType, pkcs8: Uint8Array) => Engine | undefined;

/**
 * From so many bits on a signature takes so long that nobody should wait for it here; and from so many on it is worth
 * the way to another thread, which costs about 70 µs, when somebody waits.
 */
const ELSEWHERE_BITS = { always: 3072, whenOthersWait: 2048 } as const;

/** Whether a signature with a key of this type is better made in another thread. */
export function signsElsewhere(type: KeyType, othersWait: boolean): boolean {
  const { family, bits } = factsOf(type);
  return family === "rsa" && bits >= (othersWait ? ELSEWHERE_BITS.whenOthersWait : ELSEWHERE_BITS.always);
}

/** @returns undefined where OpenSSL's functions are not to be had, or do not read the key */
export const openNativeEngine: OpenEngine = (type, pkcs8) => {
  const key = openPrivateKey(pkcs8);
  return key === undefined
    ? undefined
    : {
        sign: SIGN_NATIVELY[factsOf(type).family](type, key),
        agree: (peer) => key.agree(peer),
        decrypt: (spec, ciphertext) => key.decrypt(cipherSetting(spec), ciphertext),
        encrypt: (spec, plaintext) => key.encrypt(cipherSetting(spec), plaintext),
        close: () => key.close(),
      };
};

const signsNothing = (type: KeyType) => () => {
  throw notSupported(type, "signatures");
};

const SIGN_NATIVELY: { readonly [Family in KeyFamily]: (type: KeyType, key: NativeKey) => Engine["sign"] } = {
  ec: (type, key) => {
    const size = sizeOf(type);
    return (spec, data) => ecdsaSignatureFromDer(key.signDigest(signSetting(spec), digestOf(spec, data)), size);
  },
  rsa: (_, key) => (spec, data, elsewhere) =>
    elsewhere
      ? key.signDigestInBackground(signSetting(spec), digestOf(spec, data))
      : key.signDigest(signSetting(spec), digestOf(spec, data)).slice(),
  edwards: (_, key) => (_, message) => key.signMessage(message),
  montgomery: signsNothing,
  symmetric: signsNothing,
};

/** @returns the digest that is signed or verified */
export function digestOf({ digest, digested }: SignSpec, data: Uint8Array): Uint8Array {
  return digested || digest === undefined ? data : hash(digest, data, "buffer");
}

/** Has no signature over a digest that is already there: that throws `NOT_SUPPORTED`. */
export const openPortableEngine: OpenEngine = (_, pkcs8) => {
  const privateKey = createPrivateKey({ key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length), ...PKCS8 });
  const publicKey = createPublicKey(privateKey);
  return {
    sign(spec, data) {
      mustNotBeDigested(spec);
      return plain(sign(spec.digest ?? null, data, { key: privateKey, ...portableOptions(spec) }));
    },
    agree: (peer) =>
      plain(diffieHellman({ privateKey, publicKey: createPublicKey({ key: Buffer.from(peer), ...SPKI }) })),
    decrypt: (spec, ciphertext) => plain(privateDecrypt(paddingOptions(privateKey, spec), ciphertext)),
    encrypt: (spec, plaintext) => plain(publicEncrypt(paddingOptions(publicKey, spec), plaintext)),
    close() {}, // a KeyObject is freed when it is collected
  };
};

export const SPKI = { format: "der", type: "spki" } as const;
const PKCS8 = { format: "der", type: "pkcs8" } as const;

/** @throws ThornkeyError `NOT_SUPPORTED` for a digest that is already there, or for none at all */
export function mustNotBeDigested({ digested, digest, algorithm }: SignSpec): void {
  if (!digested && (digest !== undefined || algorithm === "ed25519")) return;
  throw new ThornkeyError(
    "NOT_SUPPORTED",
    "this Node.js does not sign or verify a digest: it hides OpenSSL's functions",
    {
      hint: "send the message itself, or use Node.js as nodejs.org builds it",
    },
  );
}

/** What `sign` and `verify` of node:crypto need to know besides digest and key. */
export function portableOptions({ algorithm, digest, saltLength }: SignSpec) {
  switch (algorithm) {
    case "ecdsa":
      return { dsaEncoding: "ieee-p1363" } as const;
    case "rsa-pss":
      return {
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: saltLength ?? DIGESTS[digest ?? DEFAULT_OAEP_DIGEST],
      };
    case "rsa-pkcs1":
    case "rsa-pkcs1-any":
    case "rsa-raw":
      return { padding: constants.RSA_PKCS1_PADDING };
    case "ed25519":
      return {};
  }
}

function paddingOptions(key: KeyObject, { cipher, digest = DEFAULT_OAEP_DIGEST, label }: EncryptSpec) {
  if (cipher === "rsa-raw") return { key, padding: constants.RSA_NO_PADDING };
  if (cipher === "rsaes-pkcs1") return { key, padding: constants.RSA_PKCS1_PADDING };
  return {
    key,
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: digest,
    ...(label !== undefined && label.length > 0 && { oaepLabel: label }),
  };
}

/** The same bytes, not as a Buffer. */
export function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
