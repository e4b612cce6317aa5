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
}

const EC_USES = ["sign", "verify", "agree", "derive"] as const;
const RSA_USES = ["sign", "verify", "encrypt", "decrypt", "wrap", "unwrap"] as const;

export const KEY_TYPES = {
  p256: { family: "ec", bits: 256, curve: "prime256v1", uses: EC_USES },
  p384: { family: "ec", bits: 384, curve: "secp384r1", uses: EC_USES },
  p521: { family: "ec", bits: 521, curve: "secp521r1", uses: EC_USES },
  secp256k1: { family: "ec", bits: 256, curve: "secp256k1", uses: EC_USES },
  rsa2048: { family: "rsa", bits: 2048, uses: RSA_USES },
  rsa3072: { family: "rsa", bits: 3072, uses: RSA_USES },
  rsa4096: { family: "rsa", bits: 4096, uses: RSA_USES },
  ed25519: { family: "edwards", bits: 256, curve: "ed25519", uses: ["sign", "verify"] },
  x25519: { family: "montgomery", bits: 256, curve: "x25519", uses: ["agree", "derive"] },
  aes256: { family: "symmetric", bits: 256, uses: ["encrypt", "decrypt", "wrap", "unwrap"] },
  hmac256: { family: "symmetric", bits: 256, uses: ["mac", "verify", "derive"] },
} as const satisfies Record<string, KeyTypeFacts>;

export type KeyType = keyof typeof KEY_TYPES;

export const KEY_TYPE_NAMES = Object.keys(KEY_TYPES) as KeyType[];

/** @returns what the table says of a type */
export function factsOf(type: KeyType): KeyTypeFacts {
  return KEY_TYPES[type];
}

/** Digests a signature or a MAC may be made over. */
export const DIGESTS = { sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<string, number>;
export type Digest = keyof typeof DIGESTS;

/** How a key signs. `ecdsa` answers r then s, each as long as the field; `rsa-*` and `ed25519` as their RFC says. */
export const SIGNATURE_ALGORITHMS = ["ecdsa", "rsa-pkcs1", "rsa-pss", "ed25519"] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];

/** How an RSA key encrypts (RFC 8017), and how a symmetric one does (SP 800-38D, RFC 3394, RFC 5649). */
export const CIPHERS = ["rsa-oaep", "aes-gcm", "aes-kw", "aes-kwp"] as const;
export type CipherName = (typeof CIPHERS)[number];
