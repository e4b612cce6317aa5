/** Public areas from which a TPM makes the objects of this house. */
import { Writer } from "../../bytes/writer.ts";
import type { KeyUse, RootKeyType } from "../root.ts";
import { PolicyAuthValue, PolicyCommandCode, PolicySecret, Unseal } from "./commands.ts";
import { ALG, CURVE, HANDLE, OBJECT } from "./constants.ts";
import { sha256 } from "./kdf.ts";
import type { PublicArea } from "./structures.ts";

const NOTHING = new Uint8Array(0);
const NO_SCHEME = { type: ALG.null } as const;
const AES_128_CFB = { type: ALG.aes, keyBits: 128, mode: ALG.cfb } as const;

const BORN_HERE = OBJECT.fixedTPM | OBJECT.fixedParent | OBJECT.sensitiveDataOrigin;
/** Its authValue opens it, and a wrong one does not count against the whole TPM: it has 192 random bits. */
const BY_AUTH = OBJECT.userWithAuth | OBJECT.noDA;

const ecc = (curve: number, attributes: number, scheme: { type: number; hash?: number }, restricted = false) =>
  ({
    type: ALG.ecc,
    nameAlg: ALG.sha256,
    attributes,
    authPolicy: NOTHING,
    symmetric: restricted ? AES_128_CFB : NO_SCHEME,
    scheme,
    curve,
    kdf: NO_SCHEME,
    unique: { x: NOTHING, y: NOTHING },
  }) as PublicArea;

/**
 * The storage root key as Linux programs make it: `unique` is empty. One with 64 zeros there is another key, and opens
 * none of their files.
 */
export const STORAGE_ROOT_KEY: PublicArea = ecc(
  CURVE.p256,
  BORN_HERE | BY_AUTH | OBJECT.restricted | OBJECT.decrypt,
  NO_SCHEME,
  true,
);

/** The key that signs evidence: restricted, so that it signs nothing but what the TPM itself composed. */
export const ATTESTATION_KEY: PublicArea = ecc(CURVE.p256, BORN_HERE | BY_AUTH | OBJECT.restricted | OBJECT.sign, {
  type: ALG.ecdsa,
  hash: ALG.sha256,
});

/** PolicySecret of the endorsement hierarchy (TCG EK Credential Profile, B.3.3). */
export const ENDORSEMENT_POLICY: Uint8Array = extend(
  extend(new Uint8Array(32), code(PolicySecret.code), code(HANDLE.endorsement)),
);

/** The endorsement key on P-256 (TCG EK Credential Profile, template L-2). */
export const ENDORSEMENT_KEY: PublicArea = {
  ...(ecc(
    CURVE.p256,
    BORN_HERE | OBJECT.adminWithPolicy | OBJECT.restricted | OBJECT.decrypt,
    NO_SCHEME,
    true,
  ) as PublicArea & {
    type: typeof ALG.ecc;
  }),
  authPolicy: ENDORSEMENT_POLICY,
  unique: { x: new Uint8Array(32), y: new Uint8Array(32) },
};

/** What opens the vault: whoever knows the authValue, by Unseal alone. */
export const SEALED_POLICY: Uint8Array = extend(
  extend(new Uint8Array(32), code(PolicyAuthValue.code)),
  code(PolicyCommandCode.code),
  code(Unseal.code),
);

export const SEALED_SECRET: PublicArea = {
  type: ALG.keyedhash,
  nameAlg: ALG.sha256,
  attributes: OBJECT.fixedTPM | OBJECT.fixedParent | OBJECT.noDA,
  authPolicy: SEALED_POLICY,
  scheme: NO_SCHEME,
  unique: NOTHING,
};

const rsa = (keyBits: number): PublicArea => ({
  type: ALG.rsa,
  nameAlg: ALG.sha256,
  // Without a scheme of its own, and for decryption too, it makes PSS with any length of salt.
  attributes: BORN_HERE | BY_AUTH | OBJECT.sign | OBJECT.decrypt,
  authPolicy: NOTHING,
  symmetric: NO_SCHEME,
  scheme: NO_SCHEME,
  keyBits,
  exponent: 0,
  unique: NOTHING,
});

const signing = (curve: number, hash: number) =>
  ecc(curve, BORN_HERE | BY_AUTH | OBJECT.sign, { type: ALG.ecdsa, hash });
const agreeing = (curve: number) =>
  ecc(curve, BORN_HERE | BY_AUTH | OBJECT.decrypt, { type: ALG.ecdh, hash: ALG.sha256 });

/** By type and use; what is not here cannot be made. */
export const KEYS: { readonly [Type in RootKeyType]?: { readonly [Use in KeyUse]?: PublicArea } } = {
  p256: { sign: signing(CURVE.p256, ALG.sha256), agree: agreeing(CURVE.p256) },
  p384: { sign: signing(CURVE.p384, ALG.sha384), agree: agreeing(CURVE.p384) },
  rsa2048: { sign: rsa(2048) },
};

/** One step of a policy: its digest over the one before and what the command says (Part 3, 23). */
function extend(before: Uint8Array, ...what: readonly Uint8Array[]): Uint8Array {
  return sha256(before, ...what);
}

function code(number: number): Uint8Array {
  return new Writer(4).u32be(number).done();
}
