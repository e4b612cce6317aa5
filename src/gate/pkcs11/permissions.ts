/** What the fixed policy of a key lets it do, in the words of PKCS#11. */
import {
  BROKEN_DIGESTS,
  type CipherName,
  canDo,
  DIGESTS,
  type Digest,
  type KeyAlgorithm,
  ONLY_WHEN_NAMED,
} from "../../operations/key-types.ts";
import { CKM } from "./constants.ts";
import type { KeyFacts } from "./key-facts.ts";
import { CIPHER_ROWS, type CipherScheme, type Hash, MECHANISMS, SIGNATURES, type SignatureRow } from "./mechanisms.ts";

/** @returns whether the key does this, as far as its fixed policy says */
export function permits({ type, fixed }: KeyFacts, algorithm: KeyAlgorithm): boolean {
  if (!canDo(type, algorithm)) return false;
  return fixed.algorithms?.includes(algorithm) ?? !ONLY_WHEN_NAMED.has(algorithm);
}

export function permitsDigest({ fixed }: KeyFacts, digest: Digest): boolean {
  return fixed.digests?.includes(digest) ?? !BROKEN_DIGESTS.has(digest);
}

/** @returns the vault's name of a digest, or undefined for one it does not know */
export function vaultDigest(hash: Hash | undefined): Digest | undefined {
  return hash !== undefined && Object.hasOwn(DIGESTS, hash) ? (hash as Digest) : undefined;
}

/** Algorithms of the vault that serve a cipher of PKCS#11; the first that the key has is used. */
export const CIPHERS_OF: { readonly [Scheme in CipherScheme]: readonly CipherName[] } = {
  "rsa-pkcs1": ["rsaes-pkcs1"],
  "rsa-oaep": ["rsa-oaep"],
  "rsa-raw": ["rsa-raw"],
  "aes-ecb": ["aes-ecb"],
  "aes-cbc": ["aes-cbc"],
  "aes-ctr": ["aes-ctr"],
  "aes-gcm": ["aes-gcm-iv", "aes-gcm"],
};

function signs(key: KeyFacts, { scheme, hash }: SignatureRow): boolean {
  const digest = vaultDigest(hash);
  const named = digest === undefined || permitsDigest(key, digest);
  switch (scheme) {
    case "ecdsa":
      return permits(key, "ecdsa") && named;
    case "rsa-pkcs1":
      return permits(key, "rsa-pkcs1-any") || (permits(key, "rsa-pkcs1") && named);
    case "rsa-pss":
      return permits(key, "rsa-pss") && named;
    case "rsa-raw":
      return permits(key, "rsa-raw");
    case "hmac":
      return permits(key, "hmac") && named;
  }
}

/** @returns CKA_ALLOWED_MECHANISMS of a key */
export function mechanismsOf(key: KeyFacts): readonly number[] {
  return MECHANISMS.filter((mechanism) => {
    const signature = SIGNATURES.get(mechanism);
    if (signature !== undefined && signs(key, signature)) return true;
    const cipher = CIPHER_ROWS.get(mechanism);
    if (cipher !== undefined) return CIPHERS_OF[cipher.scheme].some((name) => permits(key, name));
    return mechanism === CKM.ECDH1_DERIVE && permits(key, "ecdh");
  });
}

/** @returns algorithms and digests of the vault that a list of mechanisms comes to */
export function policyOf(mechanisms: readonly number[]): { algorithms: KeyAlgorithm[]; digests: Digest[] | undefined } {
  const algorithms = new Set<KeyAlgorithm>();
  const digests = new Set<Digest>();
  /** Something that names no digest signs any. */
  let any = false;
  for (const mechanism of mechanisms) {
    const signature = SIGNATURES.get(mechanism);
    if (signature !== undefined) {
      const digest = vaultDigest(signature.hash);
      if (digest === undefined) any = true;
      else digests.add(digest);
      algorithms.add(signature.scheme);
      if (mechanism === CKM.RSA_PKCS) algorithms.add("rsa-pkcs1-any");
    }
    const cipher = CIPHER_ROWS.get(mechanism);
    if (cipher !== undefined) {
      for (const name of CIPHERS_OF[cipher.scheme]) algorithms.add(name);
      if (cipher.pads) algorithms.add("aes-cbc-pad");
    }
    if (mechanism === CKM.ECDH1_DERIVE) algorithms.add("ecdh");
  }
  return { algorithms: [...algorithms], digests: any || digests.size === 0 ? undefined : [...digests] };
}
