/** Numbers of the TPM 2.0 Library Specification, Part 2: Structures. Names are the specification's without their prefix. */

/** TPM_ST. */
export const ST = {
  noSessions: 0x8001,
  sessions: 0x8002,
  attestQuote: 0x8018,
  attestCertify: 0x8017,
  hashcheck: 0x8024,
};

/** TPM_ALG_ID. */
export const ALG = {
  rsa: 0x0001,
  hmac: 0x0005,
  aes: 0x0006,
  keyedhash: 0x0008,
  xor: 0x000a,
  sha256: 0x000b,
  sha384: 0x000c,
  sha512: 0x000d,
  null: 0x0010,
  rsassa: 0x0014,
  rsaes: 0x0015,
  rsapss: 0x0016,
  oaep: 0x0017,
  ecdsa: 0x0018,
  ecdh: 0x0019,
  ecc: 0x0023,
  symcipher: 0x0025,
  cfb: 0x0043,
} as const;

/** TPM_ECC_CURVE. */
export const CURVE = { p256: 0x0003, p384: 0x0004 } as const;

/** How people call curves, those included on which nothing is made here. */
export const CURVE_NAMES: ReadonlyMap<number, string> = new Map([
  [0x0001, "P-192"],
  [0x0002, "P-224"],
  [CURVE.p256, "P-256"],
  [CURVE.p384, "P-384"],
  [0x0005, "P-521"],
  [0x0010, "BN P-256"],
  [0x0011, "BN P-638"],
  [0x0020, "SM2 P-256"],
  [0x0040, "Curve25519"],
  [0x0041, "Curve448"],
]);

/** NV indices of the endorsement keys' certificates (TCG EK Credential Profile, 2.2.1.4 and 2.2.1.5). */
export const EK_CERTIFICATES: ReadonlyMap<number, string> = new Map([
  [0x01c00002, "RSA-2048"],
  [0x01c0000a, "P-256"],
  [0x01c00012, "RSA-2048, high range"],
  [0x01c00014, "P-256, high range"],
  [0x01c00016, "P-384"],
  [0x01c00018, "P-521"],
  [0x01c0001a, "SM2 P-256"],
  [0x01c0001c, "RSA-3072"],
  [0x01c0001e, "RSA-4096"],
]);

/** TPM_RH, TPM_RS and the persistent handles that the TCG gives a meaning. */
export const HANDLE = {
  owner: 0x40000001,
  null: 0x40000007,
  password: 0x40000009,
  lockout: 0x4000000a,
  endorsement: 0x4000000b,
  platform: 0x4000000c,
  srk: 0x81000001,
} as const;

/** First handles of the ranges that GetCapability lists; TPM_HT. */
export const RANGE = {
  nv: 0x01000000,
  loadedSession: 0x02000000,
  savedSession: 0x03000000,
  transient: 0x80000000,
  persistent: 0x81000000,
};

/** TPM_SE. */
export const SESSION = { hmac: 0x00, policy: 0x01 } as const;

/** TPMA_SESSION. */
export const SESSION_ATTRIBUTE = { continueSession: 0x01, decrypt: 0x20, encrypt: 0x40, audit: 0x80 } as const;

/** TPMA_OBJECT. */
export const OBJECT = {
  fixedTPM: 0x2,
  fixedParent: 0x10,
  sensitiveDataOrigin: 0x20,
  userWithAuth: 0x40,
  adminWithPolicy: 0x80,
  noDA: 0x400,
  restricted: 0x10000,
  decrypt: 0x20000,
  sign: 0x40000,
} as const;

/** TPMA_NV; the type of an index is in bits 4 to 7. */
export const NV = {
  authWrite: 0x4,
  counter: 0x10,
  authRead: 0x40000,
  noDA: 0x2000000,
  written: 0x20000000,
} as const;

/** TPM_CAP. */
export const CAPABILITY = { handles: 1, properties: 6, curves: 8 } as const;

/** TPM_PT. */
export const PROPERTY = {
  manufacturer: 0x105,
  vendorString1: 0x106,
  vendorString4: 0x109,
  firmwareVersion1: 0x10b,
  firmwareVersion2: 0x10c,
  permanent: 0x200,
  lockoutCounter: 0x20e,
  maxAuthFail: 0x20f,
  lockoutInterval: 0x210,
  lockoutRecovery: 0x211,
} as const;

/** TPMA_PERMANENT. */
export const PERMANENT = {
  ownerAuthSet: 0x1,
  endorsementAuthSet: 0x2,
  lockoutAuthSet: 0x4,
  disableClear: 0x100,
  inLockout: 0x200,
} as const;

/** TPM_GENERATED: what an attestation begins with. */
export const GENERATED = 0xff544347;
