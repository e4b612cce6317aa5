/**
 * What the vault does with wrapped keys: pure functions over key material. No store, no policy, no names.
 */
import type { Secret } from "../../bytes/secret.ts";
import type { CipherName, Digest, KeyType, SignatureAlgorithm } from "../../operations/key-types.ts";

export interface NewMaterial {
  readonly type: KeyType;
  /** PKCS#8 DER for asymmetric keys, 32 raw bytes for symmetric ones. */
  readonly secret: Secret;
  /** SPKI DER; undefined for symmetric keys. */
  readonly publicKey: Uint8Array | undefined;
}

export interface SignSpec {
  readonly algorithm: SignatureAlgorithm;
  /** undefined only for ed25519, rsa-pkcs1-any and rsa-raw */
  readonly digest: Digest | undefined;
  /** The data is the digest already. */
  readonly digested: boolean;
  /** rsa-pss: bytes of salt; default: as long as the digest. */
  readonly saltLength?: number;
}

export interface EncryptSpec {
  readonly cipher: CipherName;
  /** Of OAEP, for label and mask alike; default sha256. */
  readonly digest?: Digest;
  /** Of OAEP. */
  readonly label?: Uint8Array;
  /** Of AES-GCM: authenticated, not encrypted. */
  readonly aad?: Uint8Array;
  /**
   * Of AES-GCM, 12 bytes, only to decrypt: the cipher text then has none in front. Of `aes-gcm-iv` 8 to 64 bytes, of
   * `aes-cbc` and `aes-ctr` 16.
   */
  readonly nonce?: Uint8Array;
  /** Of `aes-gcm-iv`: bytes of tag, 12 to 16; default 16. */
  readonly tagLength?: number;
}

export interface DeriveSpec {
  /** SPKI of the other side, for keys that agree; nothing for hmac256. */
  readonly peer?: Uint8Array;
  readonly digest: Digest;
  readonly salt: Uint8Array;
  readonly info: Uint8Array;
  /** Bytes: 1 to 255 digests. */
  readonly length: number;
}

/**
 * A key ready for use. Opening it costs something once, using it is fast. What the type cannot do is refused with
 * `NOT_SUPPORTED`, data that is not what it should be with `MALFORMED`, and any use after `close` with `FAILED`.
 */
export interface LoadedKey {
  readonly type: KeyType;
  /**
   * @param elsewhere in another thread; only RSA is, and then a promise comes back
   * @returns r then s for ECDSA (RFC 6979 is not used: k is random)
   */
  sign(spec: SignSpec, data: Uint8Array, elsewhere?: boolean): Uint8Array | Promise<Uint8Array>;
  /** ECDH or X25519. @param peerSpki its point is checked. @returns the X coordinate, or 32 bytes that are not all zero */
  agree(peerSpki: Uint8Array): Secret;
  /**
   * AES-GCM: 12 bytes of nonce, made here at random, then cipher text, then 16 bytes of tag. One key encrypts at most
   * 2^32 messages that way (SP 800-38D, 8.3); who keeps the key's count of uses sees to it. AES-KW takes 16 bytes or more
   * in steps of 8, AES-KWP 1 or more. RSA-OAEP goes through the public part.
   */
  encrypt(spec: EncryptSpec, plaintext: Uint8Array): Uint8Array;
  decrypt(spec: EncryptSpec, ciphertext: Uint8Array): Secret;
  /** HMAC (RFC 2104), as long as the digest. */
  mac(digest: Digest, data: Uint8Array): Uint8Array;
  /** HKDF (RFC 5869) over the secret of an hmac256 key, or over the agreement with a peer. */
  derive(spec: DeriveSpec): Secret;
  /** A copy of the private part, in the form of {@link NewMaterial}. Only a policy can allow it. */
  export(): Secret;
  /** Frees native objects and zeroes own copies. */
  close(): void;
}
