/** Encryption with RSA public keys in the gate, decryption by keys of the vault. */
import { constants, createPublicKey, publicEncrypt } from "node:crypto";
import { DIGESTS, sizeOf } from "../../operations/key-types.ts";
import type { Application } from "./application.ts";
import { CKR, CKZ_DATA_SPECIFIED } from "./constants.ts";
import { type Gathered, gather } from "./gathered.ts";
import type { KeyFacts } from "./key-facts.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { type CipherScheme, HASHES, hashOf } from "./mechanisms.ts";
import { bytesFrom } from "./parameters.ts";
import { vaultDigest } from "./permissions.ts";
import type { PublicPart } from "./public-part.ts";
import { DECRYPTING, refuse, translated } from "./refusals.ts";
import type { Ciphering } from "./session.ts";

export interface RsaPadding {
  readonly cipher: "rsaes-pkcs1" | "rsa-oaep" | "rsa-raw";
  /** Bytes of the modulus that are not the message's at the least. */
  readonly overhead: number;
  readonly digest?: keyof typeof DIGESTS;
  readonly label?: Uint8Array;
}

/** @throws Refusal CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID */
export function rsaPaddingOf(scheme: CipherScheme, { fields }: Mechanism): RsaPadding {
  if (scheme === "rsa-pkcs1") return { cipher: "rsaes-pkcs1", overhead: 11 };
  if (scheme === "rsa-raw") return { cipher: "rsa-raw", overhead: 0 };
  if (scheme !== "rsa-oaep") return refuse(CKR.MECHANISM_INVALID);
  const [mechanism, mgf, source, given] = fields ?? [];
  const hash = typeof mechanism === "number" ? hashOf(mechanism) : undefined;
  const digest = vaultDigest(hash);
  if (hash === undefined || digest === undefined || mgf !== HASHES[hash].mgf) refuse(CKR.MECHANISM_PARAM_INVALID);
  const label = given === null || given === undefined ? new Uint8Array(0) : bytesFrom(given);
  if (source !== CKZ_DATA_SPECIFIED && label.length > 0) refuse(CKR.MECHANISM_PARAM_INVALID);
  return { cipher: "rsa-oaep", overhead: 2 * DIGESTS[digest] + 2, digest, label };
}

const PADDINGS = {
  "rsaes-pkcs1": constants.RSA_PKCS1_PADDING,
  "rsa-oaep": constants.RSA_PKCS1_OAEP_PADDING,
  "rsa-raw": constants.RSA_NO_PADDING,
} as const;

/** @throws Refusal CKR_DATA_LEN_RANGE, CKR_DATA_INVALID */
export function encryptFor({ spki, size }: PublicPart, padding: RsaPadding, message: Uint8Array): Uint8Array {
  if (message.length > size - padding.overhead) refuse(CKR.DATA_LEN_RANGE);
  const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  const { digest, label } = padding;
  const oaep = { ...(digest && { oaepHash: digest }), ...(label && label.length > 0 && { oaepLabel: label }) };
  const data = new Uint8Array(padding.cipher === "rsa-raw" ? size : message.length);
  data.set(message, data.length - message.length);
  try {
    return new Uint8Array(publicEncrypt({ key, padding: PADDINGS[padding.cipher], ...oaep }, data));
  } catch {
    return refuse(CKR.DATA_INVALID); // a number above the modulus
  } finally {
    data.fill(0);
  }
}

/** @returns the plain text, the caller's to zero */
export async function decryptBy(
  { ask }: Application,
  key: KeyFacts,
  padding: RsaPadding,
  ciphertext: Uint8Array,
): Promise<Uint8Array> {
  if (ciphertext.length !== sizeOf(key.type)) refuse(CKR.ENCRYPTED_DATA_LEN_RANGE);
  const { cipher, digest, label } = padding;
  const args = { key: key.id, cipher, ciphertext, ...(digest && { digest }), ...(label?.length && { label }) };
  try {
    return (await ask("decrypt", args)).plaintext;
  } catch (error) {
    throw translated(error, DECRYPTING);
  }
}

export function rsaEncryption({ budget }: Application, part: PublicPart, padding: RsaPadding): Ciphering {
  const message = gather(budget, part.size - padding.overhead);
  return atTheEnd(message, part.size, (whole) => encryptFor(part, padding, whole));
}

export function rsaDecryption(application: Application, key: KeyFacts, padding: RsaPadding): Ciphering {
  const size = sizeOf(key.type);
  const message = gather(application.budget, size, CKR.ENCRYPTED_DATA_LEN_RANGE);
  return atTheEnd(message, size - padding.overhead, (whole) => decryptBy(application, key, padding, whole));
}

/** An operation that needs its message whole. @param most bytes of the result, or how many of a message of so many */
export function atTheEnd(
  message: Gathered,
  most: number | ((length: number) => number),
  act: (whole: Uint8Array) => Uint8Array | Promise<Uint8Array>,
): Ciphering {
  return {
    started: false,
    room(length, last) {
      if (!last) return 0;
      return typeof most === "number" ? most : most(message.length + length);
    },
    push(part, last) {
      message.add(part);
      return last ? act(message.whole()) : new Uint8Array(0);
    },
    close() {
      message.close();
      this.held?.fill(0);
    },
  };
}
