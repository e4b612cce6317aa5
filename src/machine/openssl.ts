import { createRequire } from "node:module";
import { concat } from "../bytes/bytes.ts";
import { ecdsaSignatureToDer, p256Point, p256SignatureToDer, p256Spki } from "../bytes/der.ts";
import { nativeOpenSsl, type OpenSsl } from "./openssl/library.ts";

/**
 * Verifies an ECDSA signature by P-256 over a digest, natively; about 15,000 a second on a small PC. Where Node does
 * not export the functions of OpenSSL it is done in JavaScript, correctly and some thirty times slower.
 *
 * @param publicKey X then Y, 64 bytes
 * @param digest 32 bytes; it is not hashed again
 * @param signature r then s, 64 bytes; a high s is accepted, as FIPS 186-5 does
 * @returns false for every signature that is not right, for r or s outside 1 to n-1, and for a point off the curve
 * @throws RangeError when a length is wrong
 */
export function verifyP256Digest(publicKey: Uint8Array, digest: Uint8Array, signature: Uint8Array): boolean {
  const ssl = nativeOpenSsl();
  return ssl === null
    ? verifyInJavaScript(publicKey, digest, signature)
    : verifyNatively(ssl, publicKey, digest, signature);
}

/**
 * The same for P-256 and P-384 by their SubjectPublicKeyInfo.
 *
 * @param spki as RFC 5480 has it, an uncompressed point
 * @param digest as long as the order
 * @param signature r then s, each as long as the order
 * @returns false for every signature that is not right
 */
export function verifyEcdsaDigest(spki: Uint8Array, digest: Uint8Array, signature: Uint8Array): boolean {
  if (spki.length === P256_SPKI_LENGTH) return verifyP256Digest(p256Point(spki), digest, signature);
  const ssl = nativeOpenSsl();
  if (ssl !== null) return verifyDer(ssl, spki, digest, ecdsaSignatureToDer(signature));
  const { p384 } = curves();
  try {
    const point = spki.subarray(spki.length - 97);
    return p384.verify(signature, digest, point, { prehash: false, lowS: false, format: "compact" });
  } catch {
    return false;
  }
}

const P256_SPKI_LENGTH = 91;

/** @returns whether {@link verifyP256Digest} is native here */
export function verifiesNatively(): boolean {
  return nativeOpenSsl() !== null;
}

/** The slow way of {@link verifyP256Digest}, with the same contract. */
export function verifyInJavaScript(publicKey: Uint8Array, digest: Uint8Array, signature: Uint8Array): boolean {
  checkLengths(publicKey, digest, signature);
  const { p256 } = curves();
  try {
    const point = concat(Uint8Array.of(4), publicKey);
    return p256.verify(signature, digest, point, { prehash: false, lowS: false, format: "compact" });
  } catch {
    return false; // a point off the curve, r or s out of range
  }
}

/** Loaded when it is needed: it takes longer to load than the rest of the vault. */
function curves(): typeof import("@noble/curves/nist.js") {
  return createRequire(import.meta.url)("@noble/curves/nist.js");
}

function verifyNatively(ssl: OpenSsl, publicKey: Uint8Array, digest: Uint8Array, signature: Uint8Array): boolean {
  checkLengths(publicKey, digest, signature);
  return verifyDer(ssl, p256Spki(publicKey), digest, p256SignatureToDer(signature));
}

function verifyDer(ssl: OpenSsl, spki: Uint8Array, digest: Uint8Array, der: Uint8Array): boolean {
  const key = ssl.d2i_PUBKEY(null, [spki], spki.length);
  const context = key === null ? null : ssl.EVP_PKEY_CTX_new(key, null);
  try {
    const right =
      context !== null &&
      ssl.EVP_PKEY_verify_init(context) === 1 &&
      ssl.EVP_PKEY_verify(context, der, der.length, digest, digest.length) === 1;
    // A failure may leave entries in this thread's error queue, where node:crypto would find them.
    if (!right) ssl.ERR_clear_error();
    return right;
  } finally {
    ssl.EVP_PKEY_CTX_free(context);
    ssl.EVP_PKEY_free(key);
  }
}

function checkLengths(publicKey: Uint8Array, digest: Uint8Array, signature: Uint8Array): void {
  if (publicKey.length !== 64) throw new RangeError(`a P-256 public key of ${publicKey.length} bytes`);
  if (digest.length !== 32) throw new RangeError(`a SHA-256 digest of ${digest.length} bytes`);
  if (signature.length !== 64) throw new RangeError(`a P-256 signature of ${signature.length} bytes`);
}
