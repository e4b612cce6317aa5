/**
 * HPKE (RFC 9180), base mode, one message, KDF HKDF-SHA256 and AEAD ChaCha20-Poly1305: as much of it as wraps the
 * file key of an age file, and opens it.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac } from "node:crypto";
import { concat } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";

/** Key encapsulation mechanisms by their registered number (IANA, HPKE KEM Identifiers). */
export const KEM = { p256: 0x0010, mlkem768p256: 0x0050 } as const;

const HKDF_SHA256 = 0x0001;
const CHACHA20_POLY1305 = 0x0003;
const TAG_BYTES = 16;

const ascii = (text: string) => new TextEncoder().encode(text);
const u16 = (number: number) => Uint8Array.of(number >> 8, number & 0xff);

/** HKDF-Extract (RFC 5869). */
export function extract(salt: Uint8Array, input: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac("sha256", salt).update(input).digest());
}

/** HKDF-Expand (RFC 5869) for at most 32 bytes: one block. */
function expand(key: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  return new Uint8Array(
    createHmac("sha256", key)
      .update(concat(info, Uint8Array.of(1)))
      .digest()
      .subarray(0, length),
  );
}

function labeledExtract(suite: Uint8Array, salt: Uint8Array, label: string, input: Uint8Array): Uint8Array {
  const labeled = concat(ascii("HPKE-v1"), suite, ascii(label), input);
  const key = extract(salt, labeled);
  labeled.fill(0);
  return key;
}

function labeledExpand(
  suite: Uint8Array,
  key: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return expand(key, concat(u16(length), ascii("HPKE-v1"), suite, ascii(label), info), length);
}

const NOTHING = new Uint8Array(0);

/**
 * ExtractAndExpand of DHKEM(P-256, HKDF-SHA256) (RFC 9180, 4.1).
 *
 * @param shared the X coordinate, 32 bytes
 * @param encapsulated the sender's point, 65 bytes
 * @param recipient our point, 65 bytes
 */
export function p256SharedSecret(shared: Uint8Array, encapsulated: Uint8Array, recipient: Uint8Array): Secret {
  const suite = concat(ascii("KEM"), u16(KEM.p256));
  const key = labeledExtract(suite, NOTHING, "eae_prk", shared);
  const secret = labeledExpand(suite, key, "shared_secret", concat(encapsulated, recipient), 32);
  key.fill(0);
  return new Secret(secret);
}

/**
 * Combiner of MLKEM768-P256 (draft-irtf-cfrg-concrete-hybrid-kems), which HPKE takes as it is.
 *
 * @param quantum shared secret of ML-KEM-768, 32 bytes
 * @param shared the X coordinate, 32 bytes
 * @param encapsulated the sender's point, 65 bytes
 * @param recipient our point, 65 bytes
 */
export function hybridSharedSecret(
  quantum: Uint8Array,
  shared: Uint8Array,
  encapsulated: Uint8Array,
  recipient: Uint8Array,
): Secret {
  const input = concat(quantum, shared, encapsulated, recipient, ascii("MLKEM768-P256"));
  const secret = new Secret(new Uint8Array(createHash("sha3-256").update(input).digest()));
  input.fill(0);
  return secret;
}

/** KeySchedule in base mode (RFC 9180, 5.1). @returns key, 32 bytes, and base_nonce, 12 bytes */
export function keySchedule(kem: number, shared: Secret, info: Uint8Array): { key: Uint8Array; nonce: Uint8Array } {
  const suite = concat(ascii("HPKE"), u16(kem), u16(HKDF_SHA256), u16(CHACHA20_POLY1305));
  const context = concat(
    Uint8Array.of(0), // mode_base
    labeledExtract(suite, NOTHING, "psk_id_hash", NOTHING),
    labeledExtract(suite, NOTHING, "info_hash", info),
  );
  const secret = shared.use((bytes) => labeledExtract(suite, bytes, "secret", NOTHING));
  const key = labeledExpand(suite, secret, "key", context, 32);
  const nonce = labeledExpand(suite, secret, "base_nonce", context, 12);
  secret.fill(0);
  return { key, nonce };
}

/**
 * @param kem number of the mechanism that gave `shared`
 * @param shared the mechanism's shared secret, 32 bytes, for this message alone
 * @returns message and tag
 */
export function sealMessage(kem: number, shared: Secret, info: Uint8Array, message: Uint8Array): Uint8Array {
  const { key, nonce } = keySchedule(kem, shared, info);
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: TAG_BYTES });
  const sealed = concat(cipher.update(message), cipher.final(), cipher.getAuthTag());
  key.fill(0);
  return sealed;
}

/**
 * @param kem number of the mechanism that gave `shared`
 * @param shared the mechanism's shared secret, 32 bytes
 * @param sealed message and tag
 * @param aad additional data, which is not secret
 * @returns the message, or undefined when it is not authentic
 */
export function openMessage(
  kem: number,
  shared: Secret,
  info: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array = NOTHING,
): Secret | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  const { key, nonce } = keySchedule(kem, shared, info);
  try {
    const decipher = createDecipheriv("chacha20-poly1305", key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(aad, { plaintextLength: sealed.length - TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const message = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
      // A copy, for slice() of a Buffer is none, and who slices a Secret means one.
      return new Secret(new Uint8Array(message));
    } catch {
      return undefined;
    } finally {
      message.fill(0);
    }
  } finally {
    key.fill(0);
  }
}
