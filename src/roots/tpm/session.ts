/**
 * Authenticated sessions (TPM 2.0 Part 1, 19 and 21; SHA-256, AES-128-CFB). A session salted to a key that only this TPM
 * has proves every command and every answer, and encrypts the first parameter of each: who listens on the bus learns
 * nothing, and who changes a bit is noticed. It is never bound to an object; the authValue in each HMAC is enough.
 */
import { constants, createECDH, createPublicKey, publicEncrypt, randomFillSync, timingSafeEqual } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";
import { encode } from "./codec.ts";
import { ALG, CURVE } from "./constants.ts";
import { decryptCfb, encryptCfb, hmacSha256, kdfa, kdfe } from "./kdf.ts";
import { spkiOf } from "./public-key.ts";
import { eccPoint, type PublicArea, type RsaPublic } from "./structures.ts";

export interface Session {
  readonly handle: number;
  readonly kind: "hmac" | "policy";
  /** 32 bytes, or none for a session that is not salted. */
  readonly key: Uint8Array;
  nonceTPM: Uint8Array;
  nonceCaller: Uint8Array;
  /** Whether the authValue of what it authorises is in its HMAC: always for `hmac`, after PolicyAuthValue for `policy`. */
  provesAuth: boolean;
  uses: number;
}

const POOL = new Uint8Array(4096);
let fresh = 0;

/** @returns 32 random bytes nobody has had */
export function newNonce(): Uint8Array<ArrayBuffer> {
  if (fresh < 32) {
    randomFillSync(POOL);
    fresh = POOL.length;
  }
  const nonce = POOL.slice(fresh - 32, fresh);
  fresh -= 32;
  return nonce;
}

/**
 * A salt that only the holder of a key can read (Part 1, annexes B.10.2 and C.6.1).
 *
 * @param area of a storage key: P-256 or RSA, with SHA-256
 * @returns the salt, 32 bytes, to be zeroed, and what StartAuthSession takes
 * @throws ThornkeyError `NOT_SUPPORTED`, `TAMPERED`
 */
export function saltFor(area: PublicArea): { salt: Uint8Array; encryptedSalt: Uint8Array } {
  if (area.nameAlg !== ALG.sha256) throw unsalted();
  try {
    if (area.type === ALG.rsa) return rsaSalt(area);
    if (area.type !== ALG.ecc || area.curve !== CURVE.p256) throw unsalted();
    const { salt, point } = ephemeral(area.unique, "SECRET");
    return { salt, encryptedSalt: point };
  } catch (cause) {
    if (cause instanceof ThornkeyError) throw cause;
    throw new ThornkeyError("TAMPERED", "what the TPM shows as its storage key is no public key", {
      hint: "somebody or something changes what goes between processor and TPM: look at the wires",
      cause,
    });
  }
}

function rsaSalt(area: RsaPublic): { salt: Uint8Array; encryptedSalt: Uint8Array } {
  const salt = randomFillSync(new Uint8Array(32));
  const key = createPublicKey({ key: Buffer.from(spkiOf(area)), format: "der", type: "spki" });
  const label = Buffer.from("SECRET\0");
  const encrypted = publicEncrypt(
    { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256", oaepLabel: label },
    salt,
  );
  return { salt, encryptedSalt: new Uint8Array(encrypted) };
}

/**
 * A secret shared with the holder of a P-256 key by a key of the moment.
 *
 * @param label of KDFe
 * @returns the secret, 32 bytes, and the encoded point that goes with it
 */
export function ephemeral(
  { x, y }: { readonly x: Uint8Array; readonly y: Uint8Array },
  label: string,
): { salt: Uint8Array; point: Uint8Array } {
  const ours = createECDH("prime256v1");
  const own = ours.generateKeys();
  const shared = ours.computeSecret(concat(Uint8Array.of(4), padded(x), padded(y)));
  const salt = kdfe(shared, label, own.subarray(1, 33), padded(x));
  shared.fill(0);
  const point = encode(eccPoint, { x: new Uint8Array(own.subarray(1, 33)), y: new Uint8Array(own.subarray(33)) });
  return { salt, point };
}

function padded(coordinate: Uint8Array): Uint8Array {
  const whole = new Uint8Array(32);
  whole.set(coordinate, 32 - coordinate.length);
  return whole;
}

function unsalted(): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", "the TPM's storage key is of a kind that no session can be salted to", {
    hint: "it must be P-256 or RSA with SHA-256; 'thornkey tpm info' shows what it is",
  });
}

/** @returns the session's key: 32 bytes */
export function sessionKey(salt: Uint8Array, nonceTPM: Uint8Array, nonceCaller: Uint8Array): Uint8Array {
  return kdfa(salt, "ATH", nonceTPM, nonceCaller, 256);
}

/**
 * The HMAC of a session over a command or an answer.
 *
 * @param digest cpHash or rpHash
 * @param nonces the newer and the older; for a command's first session also what others bring in
 */
export function sessionHmac(
  session: Session,
  auth: Uint8Array,
  digest: Uint8Array,
  nonces: readonly Uint8Array[],
  attributes: number,
): Uint8Array {
  const key = session.provesAuth ? concat(session.key, auth) : session.key;
  const hmac = hmacSha256(key, digest, ...nonces, Uint8Array.of(attributes));
  if (key !== session.key) key.fill(0);
  return hmac;
}

/** @returns whether two HMACs are the same, in a time that tells nothing */
export function sameHmac(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Encrypts or decrypts the contents of a TPM2B; not its length. */
export function crypt(
  direction: "encrypt" | "decrypt",
  session: Session,
  auth: Uint8Array,
  newer: Uint8Array,
  older: Uint8Array,
  bytes: Uint8Array,
): Uint8Array {
  const secret = concat(session.key, auth);
  const material = kdfa(secret, "CFB", newer, older, 256);
  const [key, iv] = [material.subarray(0, 16), material.subarray(16)];
  const result = (direction === "encrypt" ? encryptCfb : decryptCfb)(key, iv, bytes);
  secret.fill(0);
  material.fill(0);
  return result;
}

/** An authValue as it counts: without zeros at its end (Part 1, 19.6.4.3). */
export function trimmedAuth(auth: Uint8Array): Uint8Array {
  let end = auth.length;
  while (end > 0 && auth[end - 1] === 0) end--;
  return auth.subarray(0, end);
}

/** The first half of the fields of a session in a command. */
export function sessionHead(handle: number, nonce: Uint8Array, attributes: number): Uint8Array {
  return new Writer(7 + nonce.length).u32be(handle).u16be(nonce.length).put(nonce).u8(attributes).done();
}
