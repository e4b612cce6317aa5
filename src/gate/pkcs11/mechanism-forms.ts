/**
 * How the parameters of mechanisms are written. p11-kit writes them field by field: `u` is a CK_ULONG, `b` an array of
 * bytes. Every mechanism that is not in the table has no parameter on the wire.
 */
import { CKM } from "./constants.ts";

export interface Mechanism {
  readonly type: number;
  /** In the order of the table; null when there is no parameter. */
  readonly fields: readonly Field[] | null;
}

/** null is a NULL pointer. */
export type Field = number | Uint8Array | null;

type Form = readonly ("u" | "b")[];

const form = (letters: string): Form => letters.split("") as ("u" | "b")[];

/** CK_RSA_PKCS_PSS_PARAMS: hash, mask generation function, length of the salt. */
const PSS = form("uuu");
/** An initialisation vector. */
const IV = form("b");
/** Length of the output in bytes. */
const LENGTH = form("u");

const FORMS = new Map<number, Form>([
  [CKM.RSA_PKCS_PSS, PSS],
  [CKM.SHA1_RSA_PKCS_PSS, PSS],
  [CKM.SHA224_RSA_PKCS_PSS, PSS],
  [CKM.SHA256_RSA_PKCS_PSS, PSS],
  [CKM.SHA384_RSA_PKCS_PSS, PSS],
  [CKM.SHA512_RSA_PKCS_PSS, PSS],
  /** Hash, mask generation function, source, label. */
  [CKM.RSA_PKCS_OAEP, form("uuub")],
  /** Key derivation function, shared data, the other's point. */
  [CKM.ECDH1_DERIVE, form("ubb")],
  [CKM.AES_CBC, IV],
  [CKM.AES_CBC_PAD, IV],
  [CKM.AES_OFB, IV],
  [CKM.AES_CFB1, IV],
  [CKM.AES_CFB8, IV],
  [CKM.AES_CFB64, IV],
  [CKM.AES_CFB128, IV],
  [CKM.AES_CTS, IV],
  /** Bits of the counter, the block. */
  [CKM.AES_CTR, form("ub")],
  /** Nonce, its bits, associated data, bits of the tag. */
  [CKM.AES_GCM, form("bubu")],
  [CKM.DES_CBC, IV],
  [CKM.DES_CBC_PAD, IV],
  [CKM.DES3_CBC, IV],
  [CKM.DES3_CBC_PAD, IV],
  [CKM.DES_CFB8, IV],
  [CKM.DES_CFB64, IV],
  [CKM.DES_OFB64, IV],
  [CKM.SHA_1_HMAC_GENERAL, LENGTH],
  [CKM.SHA224_HMAC_GENERAL, LENGTH],
  [CKM.SHA256_HMAC_GENERAL, LENGTH],
  [CKM.SHA384_HMAC_GENERAL, LENGTH],
  [CKM.SHA512_HMAC_GENERAL, LENGTH],
  [CKM.SHA512_224_HMAC_GENERAL, LENGTH],
  [CKM.SHA512_256_HMAC_GENERAL, LENGTH],
  [CKM.AES_MAC_GENERAL, LENGTH],
  [CKM.AES_CMAC_GENERAL, LENGTH],
  [CKM.DES3_MAC_GENERAL, LENGTH],
  [CKM.DES3_CMAC_GENERAL, LENGTH],
  [CKM.DH_PKCS_DERIVE, form("b")],
  // IBM's: EC_X25519, EC_X448, ATTRIBUTEBOUND_WRAP, ECDSA_OTHER, BTC_DERIVE, KYBER.
  [0x8001001b, form("ubb")],
  [0x8001001e, form("ubb")],
  [0x80020004, form("u")],
  [0x80010031, form("u")],
  [0x80070001, form("uubu")],
  [0x80010024, form("uuubbu")],
]);

/** What a client of version 0 knows to write. */
const FORMS_0 = new Set<number>([CKM.RSA_PKCS_PSS, CKM.RSA_PKCS_OAEP]);

/**
 * @param version the byte the client sent, whatever was answered
 * @returns undefined for a mechanism without a parameter on the wire
 */
export function formOf(type: number, version: number): Form | undefined {
  return version >= 1 || FORMS_0.has(type) ? FORMS.get(type) : undefined;
}
