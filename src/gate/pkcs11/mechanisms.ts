/** What the token offers: every mechanism, for which keys, and what it means to those who do it. */
import { CKF, CKG, CKK, CKM, CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

/** Digests the gate makes, by node:crypto's names. */
export const HASHES = {
  sha1: { mechanism: CKM.SHA_1, size: 20, mgf: CKG.MGF1_SHA1 },
  sha224: { mechanism: CKM.SHA224, size: 28, mgf: CKG.MGF1_SHA224 },
  sha256: { mechanism: CKM.SHA256, size: 32, mgf: CKG.MGF1_SHA256 },
  sha384: { mechanism: CKM.SHA384, size: 48, mgf: CKG.MGF1_SHA384 },
  sha512: { mechanism: CKM.SHA512, size: 64, mgf: CKG.MGF1_SHA512 },
  "sha512-224": { mechanism: CKM.SHA512_224, size: 28, mgf: 0 },
  "sha512-256": { mechanism: CKM.SHA512_256, size: 32, mgf: 0 },
} as const;
export type Hash = keyof typeof HASHES;

export function hashOf(mechanism: number): Hash | undefined {
  return (Object.keys(HASHES) as Hash[]).find((hash) => HASHES[hash].mechanism === mechanism);
}

/** How a signature is made of what was hashed, or was given. */
export type SignatureScheme = "ecdsa" | "rsa-pkcs1" | "rsa-pss" | "rsa-raw" | "hmac";

export interface SignatureRow {
  readonly scheme: SignatureScheme;
  /** Hashed here first; undefined: what is given is signed. */
  readonly hash: Hash | undefined;
  /** The parameter says how long the output is. */
  readonly general?: true;
}

export const SIGNATURES = new Map<number, SignatureRow>([
  [CKM.ECDSA, { scheme: "ecdsa", hash: undefined }],
  [CKM.ECDSA_SHA1, { scheme: "ecdsa", hash: "sha1" }],
  [CKM.ECDSA_SHA224, { scheme: "ecdsa", hash: "sha224" }],
  [CKM.ECDSA_SHA256, { scheme: "ecdsa", hash: "sha256" }],
  [CKM.ECDSA_SHA384, { scheme: "ecdsa", hash: "sha384" }],
  [CKM.ECDSA_SHA512, { scheme: "ecdsa", hash: "sha512" }],
  [CKM.RSA_PKCS, { scheme: "rsa-pkcs1", hash: undefined }],
  [CKM.SHA1_RSA_PKCS, { scheme: "rsa-pkcs1", hash: "sha1" }],
  [CKM.SHA224_RSA_PKCS, { scheme: "rsa-pkcs1", hash: "sha224" }],
  [CKM.SHA256_RSA_PKCS, { scheme: "rsa-pkcs1", hash: "sha256" }],
  [CKM.SHA384_RSA_PKCS, { scheme: "rsa-pkcs1", hash: "sha384" }],
  [CKM.SHA512_RSA_PKCS, { scheme: "rsa-pkcs1", hash: "sha512" }],
  [CKM.RSA_PKCS_PSS, { scheme: "rsa-pss", hash: undefined }],
  [CKM.SHA1_RSA_PKCS_PSS, { scheme: "rsa-pss", hash: "sha1" }],
  [CKM.SHA224_RSA_PKCS_PSS, { scheme: "rsa-pss", hash: "sha224" }],
  [CKM.SHA256_RSA_PKCS_PSS, { scheme: "rsa-pss", hash: "sha256" }],
  [CKM.SHA384_RSA_PKCS_PSS, { scheme: "rsa-pss", hash: "sha384" }],
  [CKM.SHA512_RSA_PKCS_PSS, { scheme: "rsa-pss", hash: "sha512" }],
  [CKM.RSA_X_509, { scheme: "rsa-raw", hash: undefined }],
  [CKM.SHA_1_HMAC, { scheme: "hmac", hash: "sha1" }],
  [CKM.SHA224_HMAC, { scheme: "hmac", hash: "sha224" }],
  [CKM.SHA256_HMAC, { scheme: "hmac", hash: "sha256" }],
  [CKM.SHA384_HMAC, { scheme: "hmac", hash: "sha384" }],
  [CKM.SHA512_HMAC, { scheme: "hmac", hash: "sha512" }],
  [CKM.SHA_1_HMAC_GENERAL, { scheme: "hmac", hash: "sha1", general: true }],
  [CKM.SHA224_HMAC_GENERAL, { scheme: "hmac", hash: "sha224", general: true }],
  [CKM.SHA256_HMAC_GENERAL, { scheme: "hmac", hash: "sha256", general: true }],
  [CKM.SHA384_HMAC_GENERAL, { scheme: "hmac", hash: "sha384", general: true }],
  [CKM.SHA512_HMAC_GENERAL, { scheme: "hmac", hash: "sha512", general: true }],
]);

export type CipherScheme = "rsa-pkcs1" | "rsa-oaep" | "rsa-raw" | "aes-ecb" | "aes-cbc" | "aes-ctr" | "aes-gcm";

export interface CipherRow {
  readonly scheme: CipherScheme;
  /** PKCS#7 padding. */
  readonly pads?: true;
}

export const CIPHER_ROWS = new Map<number, CipherRow>([
  [CKM.RSA_PKCS, { scheme: "rsa-pkcs1" }],
  [CKM.RSA_PKCS_OAEP, { scheme: "rsa-oaep" }],
  [CKM.RSA_X_509, { scheme: "rsa-raw" }],
  [CKM.AES_ECB, { scheme: "aes-ecb" }],
  [CKM.AES_CBC, { scheme: "aes-cbc" }],
  [CKM.AES_CBC_PAD, { scheme: "aes-cbc", pads: true }],
  [CKM.AES_CTR, { scheme: "aes-ctr" }],
  [CKM.AES_GCM, { scheme: "aes-gcm" }],
]);

export interface Offer {
  readonly minimum: number;
  readonly maximum: number;
  readonly flags: number;
  /** CKK of the keys it is for; nothing for digests. */
  readonly keys: readonly number[];
}

const RSA = { minimum: 2048, maximum: 4096, keys: [CKK.RSA] };
const EC = { minimum: 256, maximum: 521, keys: [CKK.EC] };
const AES = { minimum: 16, maximum: 32, keys: [CKK.AES] };
const GENERIC = { minimum: 1, maximum: 64, keys: [CKK.GENERIC_SECRET] };

const EC_FLAGS = CKF.EC_F_P | CKF.EC_NAMEDCURVE | CKF.EC_UNCOMPRESS;
const SIGNS = CKF.HW | CKF.SIGN | CKF.VERIFY;
const RECOVERS = CKF.SIGN_RECOVER | CKF.VERIFY_RECOVER;
const CRYPTS = CKF.HW | CKF.ENCRYPT | CKF.DECRYPT;
const WRAPS = CKF.WRAP | CKF.UNWRAP;

const OFFER_OF_SCHEME: { readonly [Scheme in SignatureScheme]: Offer } = {
  ecdsa: { ...EC, flags: SIGNS | EC_FLAGS },
  "rsa-pkcs1": { ...RSA, flags: SIGNS },
  "rsa-pss": { ...RSA, flags: SIGNS },
  "rsa-raw": { ...RSA, flags: SIGNS },
  hmac: { ...GENERIC, flags: SIGNS },
};

export const OFFERS: ReadonlyMap<number, Offer> = new Map<number, Offer>([
  ...[...SIGNATURES].map(([mechanism, { scheme }]) => [mechanism, OFFER_OF_SCHEME[scheme]] as const),
  [CKM.RSA_PKCS_KEY_PAIR_GEN, { ...RSA, flags: CKF.HW | CKF.GENERATE_KEY_PAIR }],
  [CKM.RSA_PKCS, { ...RSA, flags: SIGNS | RECOVERS | CRYPTS | WRAPS }],
  [CKM.RSA_X_509, { ...RSA, flags: SIGNS | RECOVERS | CRYPTS }],
  [CKM.RSA_PKCS_OAEP, { ...RSA, flags: CRYPTS | WRAPS }],
  [CKM.EC_KEY_PAIR_GEN, { ...EC, flags: CKF.HW | CKF.GENERATE_KEY_PAIR | EC_FLAGS }],
  [CKM.ECDH1_DERIVE, { ...EC, flags: CKF.HW | CKF.DERIVE | EC_FLAGS }],
  ...Object.values(HASHES).map(
    ({ mechanism }) => [mechanism, { minimum: 0, maximum: 0, flags: CKF.DIGEST, keys: [] }] as const,
  ),
  [CKM.GENERIC_SECRET_KEY_GEN, { ...GENERIC, flags: CKF.HW | CKF.GENERATE }],
  [CKM.AES_KEY_GEN, { ...AES, flags: CKF.HW | CKF.GENERATE }],
  [CKM.AES_ECB, { ...AES, flags: CRYPTS | WRAPS }],
  [CKM.AES_CBC, { ...AES, flags: CRYPTS | WRAPS }],
  [CKM.AES_CBC_PAD, { ...AES, flags: CRYPTS | WRAPS }],
  [CKM.AES_CTR, { ...AES, flags: CRYPTS }],
  [CKM.AES_GCM, { ...AES, flags: CRYPTS }],
]);

export const MECHANISMS: readonly number[] = [...OFFERS.keys()];

/** @returns CKA_ALLOWED_MECHANISMS of keys of a type */
export function mechanismsFor(keyType: number): readonly number[] {
  return MECHANISMS.filter((mechanism) => OFFERS.get(mechanism)?.keys.includes(keyType));
}

/** @throws Refusal CKR_MECHANISM_INVALID when the token does not do this with this mechanism */
export function mustOffer(mechanism: number, flag: number): Offer {
  const offer = OFFERS.get(mechanism);
  return offer === undefined || (offer.flags & flag) === 0 ? refuse(CKR.MECHANISM_INVALID) : offer;
}
