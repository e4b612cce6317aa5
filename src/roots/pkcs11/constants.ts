/** Numbers of PKCS #11 v2.40 (Base Specification and Current Mechanisms) that this room needs, without their prefix. */

export const CKA = {
  CLASS: 0x0,
  TOKEN: 0x1,
  PRIVATE: 0x2,
  LABEL: 0x3,
  VALUE: 0x11,
  CERTIFICATE_TYPE: 0x80,
  KEY_TYPE: 0x100,
  ID: 0x102,
  SENSITIVE: 0x103,
  ENCRYPT: 0x104,
  DECRYPT: 0x105,
  WRAP: 0x106,
  UNWRAP: 0x107,
  SIGN: 0x108,
  VERIFY: 0x10a,
  DERIVE: 0x10c,
  MODULUS: 0x120,
  MODULUS_BITS: 0x121,
  PUBLIC_EXPONENT: 0x122,
  VALUE_LEN: 0x161,
  EXTRACTABLE: 0x162,
  LOCAL: 0x163,
  NEVER_EXTRACTABLE: 0x164,
  ALWAYS_SENSITIVE: 0x165,
  EC_PARAMS: 0x180,
  EC_POINT: 0x181,
  ALWAYS_AUTHENTICATE: 0x202,
} as const;

export const CKO = { CERTIFICATE: 1, PUBLIC_KEY: 2, PRIVATE_KEY: 3, SECRET_KEY: 4 } as const;

export const CKK = { RSA: 0x0, EC: 0x3, GENERIC_SECRET: 0x10 } as const;

export const CKM = {
  RSA_PKCS_KEY_PAIR_GEN: 0x0,
  RSA_PKCS: 0x1,
  RSA_PKCS_PSS: 0xd,
  SHA256: 0x250,
  SHA384: 0x260,
  SHA512: 0x270,
  EC_KEY_PAIR_GEN: 0x1040,
  ECDSA: 0x1041,
  ECDH1_DERIVE: 0x1050,
} as const;

/** Mask generation functions of RSASSA-PSS. */
export const CKG_MGF1 = { sha256: 2, sha384: 3, sha512: 4 } as const;

export const CKD_NULL = 1;

export const CKU_USER = 1;

export const CKS = { RO_USER_FUNCTIONS: 1, RW_USER_FUNCTIONS: 3 } as const;

/** Of CK_C_INITIALIZE_ARGS. */
export const CKF_OS_LOCKING_OK = 0x2;

/** Of a session. */
export const CKF_SESSION = { RW: 0x2, SERIAL: 0x4 } as const;

/** Of CK_TOKEN_INFO. */
export const CKF_TOKEN = {
  RNG: 0x1,
  LOGIN_REQUIRED: 0x4,
  PROTECTED_AUTHENTICATION_PATH: 0x100,
  INITIALIZED: 0x400,
  USER_PIN_COUNT_LOW: 0x10000,
  USER_PIN_FINAL_TRY: 0x20000,
  USER_PIN_LOCKED: 0x40000,
} as const;

/** Of CK_MECHANISM_INFO. */
export const CKF_MECHANISM = { SIGN: 0x800, GENERATE_KEY_PAIR: 0x10000, DERIVE: 0x80000 } as const;

/**
 * Functions by their place in CK_FUNCTION_LIST, and their arguments: `u` is a CK_ULONG or a handle, `p` a pointer, `b` a
 * CK_BBOOL. All of them return a CK_RV.
 */
export const FUNCTIONS = {
  C_Initialize: [0, "p"],
  C_Finalize: [1, "p"],
  C_GetSlotList: [4, "bpp"],
  C_GetTokenInfo: [6, "up"],
  C_GetMechanismList: [7, "upp"],
  C_GetMechanismInfo: [8, "uup"],
  C_OpenSession: [12, "uuppp"],
  C_CloseSession: [13, "u"],
  C_GetSessionInfo: [15, "up"],
  C_Login: [18, "uupu"],
  C_DestroyObject: [22, "uu"],
  C_GetAttributeValue: [24, "uupu"],
  C_FindObjectsInit: [26, "upu"],
  C_FindObjects: [27, "upup"],
  C_FindObjectsFinal: [28, "u"],
  C_SignInit: [42, "upu"],
  C_Sign: [43, "upupp"],
  C_GenerateKeyPair: [59, "uppupupp"],
  C_DeriveKey: [62, "upupup"],
  C_GenerateRandom: [64, "upu"],
} as const satisfies { readonly [name: string]: readonly [place: number, args: string] };

export type FunctionName = keyof typeof FUNCTIONS;

/** Functions of CK_FUNCTION_LIST, all of v2.40. */
export const FUNCTION_COUNT = 68;
