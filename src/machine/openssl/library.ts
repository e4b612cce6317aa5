import { loadKoffi } from "../libc.ts";

/**
 * Functions of the OpenSSL inside Node, whose symbols the Node executable exports (or the shared libcrypto that a
 * distribution's Node is linked with). They do what `node:crypto` does not: sign and verify a digest that is already
 * there, and free a key at the moment it is no longer needed. Names and arguments: OpenSSL 3.0, man3.
 */
const PROTOTYPES = {
  d2i_PUBKEY: "void *d2i_PUBKEY(void *old, const uint8_t **der, long length)",
  d2i_AutoPrivateKey: "void *d2i_AutoPrivateKey(void *old, const uint8_t **der, long length)",
  EVP_PKEY_free: "void EVP_PKEY_free(void *key)",
  EVP_PKEY_CTX_new: "void *EVP_PKEY_CTX_new(void *key, void *engine)",
  EVP_PKEY_CTX_free: "void EVP_PKEY_CTX_free(void *context)",
  EVP_PKEY_CTX_ctrl_str: "int EVP_PKEY_CTX_ctrl_str(void *context, const char *name, const char *value)",
  EVP_PKEY_check: "int EVP_PKEY_check(void *context)",
  EVP_PKEY_sign_init: "int EVP_PKEY_sign_init(void *context)",
  EVP_PKEY_sign: "int EVP_PKEY_sign(void *context, void *out, void *outLength, const void *in, size_t inLength)",
  EVP_PKEY_verify_init: "int EVP_PKEY_verify_init(void *context)",
  EVP_PKEY_verify:
    "int EVP_PKEY_verify(void *context, const void *signature, size_t signatureLength, " +
    "const void *digest, size_t digestLength)",
  EVP_PKEY_encrypt_init: "int EVP_PKEY_encrypt_init(void *context)",
  EVP_PKEY_encrypt: "int EVP_PKEY_encrypt(void *context, void *out, void *outLength, const void *in, size_t inLength)",
  EVP_PKEY_decrypt_init: "int EVP_PKEY_decrypt_init(void *context)",
  EVP_PKEY_decrypt: "int EVP_PKEY_decrypt(void *context, void *out, void *outLength, const void *in, size_t inLength)",
  EVP_PKEY_derive_init: "int EVP_PKEY_derive_init(void *context)",
  EVP_PKEY_derive_set_peer: "int EVP_PKEY_derive_set_peer(void *context, void *peer)",
  EVP_PKEY_derive: "int EVP_PKEY_derive(void *context, void *out, void *outLength)",
  EVP_MD_CTX_new: "void *EVP_MD_CTX_new()",
  EVP_MD_CTX_free: "void EVP_MD_CTX_free(void *context)",
  EVP_DigestSignInit: "int EVP_DigestSignInit(void *context, void *pkeyContext, void *type, void *engine, void *key)",
  EVP_DigestSign: "int EVP_DigestSign(void *context, void *out, void *outLength, const void *in, size_t inLength)",
  EVP_DigestVerifyInit:
    "int EVP_DigestVerifyInit(void *context, void *pkeyContext, void *type, void *engine, void *key)",
  EVP_DigestVerify:
    "int EVP_DigestVerify(void *context, const void *signature, size_t signatureLength, const void *in, size_t inLength)",
  ERR_clear_error: "void ERR_clear_error()",
  BN_bin2bn: "void *BN_bin2bn(const void *bytes, int length, void *old)",
  BN_bn2binpad: "int BN_bn2binpad(const void *number, void *out, int length)",
  BN_new: "void *BN_new()",
  BN_clear_free: "void BN_clear_free(void *number)",
  BN_CTX_new: "void *BN_CTX_new()",
  BN_CTX_free: "void BN_CTX_free(void *context)",
  BN_set_flags: "void BN_set_flags(void *number, int flags)",
  BN_sub_word: "int BN_sub_word(void *number, unsigned long word)",
  BN_mul: "int BN_mul(void *result, const void *a, const void *b, void *context)",
  BN_mod_mul: "int BN_mod_mul(void *result, const void *a, const void *b, const void *modulus, void *context)",
  BN_div: "int BN_div(void *quotient, void *remainder, const void *number, const void *divisor, void *context)",
  BN_cmp: "int BN_cmp(const void *a, const void *b)",
  BN_is_one: "int BN_is_one(const void *number)",
} as const;

/** A native object, or null. */
export type Pointer = object | bigint | null;

type Transform = (
  context: Pointer,
  out: Uint8Array,
  outLength: Uint32Array,
  input: Uint8Array,
  inputLength: number,
) => number;
type Check = (
  context: Pointer,
  signature: Uint8Array,
  signatureLength: number,
  input: Uint8Array,
  inputLength: number,
) => number;
type Init = (context: Pointer) => number;
type DigestInit = (context: Pointer, pkeyContext: null, type: null, engine: null, key: Pointer) => number;
type BinaryOperation = (result: Pointer, a: Pointer, b: Pointer, context: Pointer) => number;

/** The same function in koffi's pool of threads. */
export interface InBackground<Arguments extends readonly unknown[]> {
  async(...args: [...Arguments, (error: Error | null, result: number) => void]): void;
}

export interface OpenSsl {
  d2i_PUBKEY(old: null, der: [Uint8Array], length: number): Pointer;
  d2i_AutoPrivateKey(old: null, der: [Uint8Array], length: number): Pointer;
  EVP_PKEY_free(key: Pointer): void;
  EVP_PKEY_CTX_new(key: Pointer, engine: null): Pointer;
  EVP_PKEY_CTX_free(context: Pointer): void;
  EVP_PKEY_CTX_ctrl_str(context: Pointer, name: string, value: string): number;
  EVP_PKEY_check: Init;
  EVP_PKEY_sign_init: Init;
  EVP_PKEY_sign: Transform & InBackground<Parameters<Transform>>;
  EVP_PKEY_verify_init: Init;
  EVP_PKEY_verify: Check;
  EVP_PKEY_encrypt_init: Init;
  EVP_PKEY_encrypt: Transform;
  EVP_PKEY_decrypt_init: Init;
  EVP_PKEY_decrypt: Transform;
  EVP_PKEY_derive_init: Init;
  EVP_PKEY_derive_set_peer(context: Pointer, peer: Pointer): number;
  EVP_PKEY_derive(context: Pointer, out: Uint8Array, outLength: Uint32Array): number;
  EVP_MD_CTX_new(): Pointer;
  EVP_MD_CTX_free(context: Pointer): void;
  EVP_DigestSignInit: DigestInit;
  EVP_DigestSign: Transform;
  EVP_DigestVerifyInit: DigestInit;
  EVP_DigestVerify: Check;
  ERR_clear_error(): void;
  BN_bin2bn(bytes: Uint8Array, length: number, old: null): Pointer;
  BN_bn2binpad(number: Pointer, out: Uint8Array, length: number): number;
  BN_new(): Pointer;
  BN_clear_free(number: Pointer): void;
  BN_CTX_new(): Pointer;
  BN_CTX_free(context: Pointer): void;
  BN_set_flags(number: Pointer, flags: number): void;
  BN_sub_word(number: Pointer, word: number): number;
  BN_mul: BinaryOperation;
  BN_mod_mul(result: Pointer, a: Pointer, b: Pointer, modulus: Pointer, context: Pointer): number;
  BN_div(quotient: null, remainder: Pointer, number: Pointer, divisor: Pointer, context: Pointer): number;
  BN_cmp(a: Pointer, b: Pointer): number;
  BN_is_one(number: Pointer): number;
}

/** undefined: not looked up yet; null: this Node does not export the functions. */
let openSsl: OpenSsl | null | undefined;

/** @returns the functions, or null when they (or koffi) are not there */
export function nativeOpenSsl(): OpenSsl | null {
  if (openSsl === undefined) {
    try {
      const library = loadKoffi().load(null);
      const functions = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]);
      openSsl = Object.fromEntries(functions) as OpenSsl;
    } catch {
      openSsl = null;
    }
  }
  return openSsl;
}
