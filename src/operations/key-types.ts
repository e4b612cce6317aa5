/**
 * The key types of the house, and what each can do. Everything that depends on a type asks this table; nothing compares
 * names.
 */

/** What a key may be for. A key has a subset of what its type can do. */
export const KEY_USES = ["sign", "verify", "agree", "derive", "encrypt", "decrypt", "wrap", "unwrap", "mac"] as const;
export type KeyUse = (typeof KEY_USES)[number];

export type KeyFamily = "ec" | "rsa" | "edwards" | "montgomery" | "symmetric";

interface KeyTypeFacts {
  readonly family: KeyFamily;
  /** Length of the modulus or of the secret, or of the field, in bits. */
  readonly bits: number;
  /** OpenSSL's and the standards' name of the curve. */
  readonly curve?: string;
  readonly uses: readonly KeyUse[];
  /** What it can do; of signatures and of ciphers, the first is the default. */
  readonly algorithms: readonly KeyAlgorithm[];
}

/**
 * How a key signs. `ecdsa` answers r then s, each as long as the field; `rsa-*` and `ed25519` as their RFC says.
 * `rsa-pkcs1-any` pads what it is given as RFC 8017, 8.2.1 does, and puts no name of a digest before it (PKCS#11's
 * CKM_RSA_PKCS); `rsa-raw` is RSASP1 alone, over as many bytes as the modulus has (CKM_RSA_X_509).
 */
export const SIGNATURE_ALGORITHMS = ["ecdsa", "rsa-pkcs1", "rsa-pss", "ed25519", "rsa-pkcs1-any", "rsa-raw"] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];

/**
 * How an RSA key encrypts (RFC 8017; `rsaes-pkcs1` answers noise to what is padded wrongly), and how a symmetric one does
 * (SP 800-38D, RFC 3394, RFC 5649, SP 800-38A). `aes-gcm-iv` is GCM with a nonce of the caller's.
 */
export const CIPHERS = [
  "rsa-oaep",
  "rsaes-pkcs1",
  "rsa-raw",
  "aes-gcm",
  "aes-kw",
  "aes-kwp",
  "aes-gcm-iv",
  "aes-cbc",
  "aes-cbc-pad",
  "aes-ctr",
  "aes-ecb",
] as const;
export type CipherName = (typeof CIPHERS)[number];

/**
 * What undoes the protection of the other algorithms of the same key: with raw RSA any padding can be forged, with a
 * block or a counter of one's own choice GCM is undone. A key does these only if its policy names them.
 */
export const ONLY_WHEN_NAMED: ReadonlySet<KeyAlgorithm> = new Set([
  "rsa-pkcs1-any",
  "rsa-raw",
  "aes-gcm-iv",
  "aes-cbc",
  "aes-cbc-pad",
  "aes-ctr",
  "aes-ecb",
]);

/** Besides these: `ecdh` is RFC 7748 for x25519. */
export type KeyAlgorithm = SignatureAlgorithm | CipherName | "ecdh" | "hkdf" | "hmac";

const EC = { uses: ["sign", "verify", "agree", "derive"], algorithms: ["ecdsa", "ecdh", "hkdf"] } as const;
const RSA = {
  uses: ["sign", "verify", "encrypt", "decrypt", "wrap", "unwrap"],
  algorithms: ["rsa-pss", "rsa-pkcs1", "rsa-oaep", "rsaes-pkcs1", "rsa-pkcs1-any", "rsa-raw"],
} as const;

export const KEY_TYPES = {
  p256: { family: "ec", bits: 256, curve: "prime256v1", ...EC },
  p384: { family: "ec", bits: 384, curve: "secp384r1", ...EC },
  p521: { family: "ec", bits: 521, curve: "secp521r1", ...EC },
  secp256k1: { family: "ec", bits: 256, curve: "secp256k1", ...EC },
  rsa2048: { family: "rsa", bits: 2048, ...RSA },
  rsa3072: { family: "rsa", bits: 3072, ...RSA },
  rsa4096: { family: "rsa", bits: 4096, ...RSA },
  ed25519: { family: "edwards", bits: 256, curve: "ed25519", uses: ["sign", "verify"], algorithms: ["ed25519"] },
  x25519: { family: "montgomery", bits: 256, curve: "x25519", uses: ["agree", "derive"], algorithms: ["ecdh", "hkdf"] },
  aes256: {
    family: "symmetric",
    bits: 256,
    uses: ["encrypt", "decrypt", "wrap", "unwrap"],
    algorithms: ["aes-gcm", "aes-kwp", "aes-kw", "aes-gcm-iv", "aes-cbc", "aes-cbc-pad", "aes-ctr", "aes-ecb"],
  },
  hmac256: { family: "symmetric", bits: 256, uses: ["mac", "verify", "derive"], algorithms: ["hmac", "hkdf"] },
} as const satisfies Record<string, KeyTypeFacts>;

export type KeyType = keyof typeof KEY_TYPES;

export const KEY_TYPE_NAMES = Object.keys(KEY_TYPES) as KeyType[];

/** @returns what the table says of a type */
export function factsOf(type: KeyType): KeyTypeFacts {
  return KEY_TYPES[type];
}

/** Digests a signature or a MAC may be made over, and their bytes. */
export const DIGESTS = { sha256: 32, sha384: 48, sha512: 64, sha224: 28, sha1: 20 } as const satisfies Record<
  string,
  number
>;
export type Digest = keyof typeof DIGESTS;

/** Digests that two messages can be made to share: a key signs over them only if its policy names them. */
export const BROKEN_DIGESTS: ReadonlySet<Digest> = new Set(["sha1"]);

/** @returns whether keys of the type do this at all */
export function canDo(type: KeyType, algorithm: KeyAlgorithm): boolean {
  return factsOf(type).algorithms.includes(algorithm);
}

/** @returns how keys of the type sign, the default first; nothing for those that do not */
export function signatureAlgorithmsOf(type: KeyType): readonly SignatureAlgorithm[] {
  return SIGNATURE_ALGORITHMS.filter((algorithm) => canDo(type, algorithm)).sort(byPreference(type));
}

/** @returns how keys of the type encrypt, the default first; nothing for those that do not */
export function ciphersOf(type: KeyType): readonly CipherName[] {
  return CIPHERS.filter((cipher) => canDo(type, cipher)).sort(byPreference(type));
}

function byPreference(type: KeyType) {
  const { algorithms } = factsOf(type);
  return (a: KeyAlgorithm, b: KeyAlgorithm) => algorithms.indexOf(a) - algorithms.indexOf(b);
}

/** @returns bytes of the field, the modulus or the secret: 66 for P-521 */
export function sizeOf(type: KeyType): number {
  return Math.ceil(factsOf(type).bits / 8);
}

/** @returns bytes of a signature: r and s for ECDSA, the modulus for RSA, 64 for Ed25519, 0 for keys that sign nothing */
export function signatureLengthOf(type: KeyType): number {
  const { family } = factsOf(type);
  if (family === "rsa") return sizeOf(type);
  return family === "ec" || family === "edwards" ? 2 * sizeOf(type) : 0;
}
