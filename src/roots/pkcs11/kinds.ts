/** Kinds of keys, and what a token must have to make and to use them. */
import { fromHex } from "../../bytes/bytes.ts";
import { DIGEST_INFO } from "../digest-info.ts";
import type { KeyMaking, RootKeyType, SigningWay } from "../root.ts";
import type { MechanismFacts } from "./calls.ts";
import { CKF_MECHANISM, CKG_MGF1, CKM } from "./constants.ts";

/** A named curve. */
export interface Curve {
  readonly family: "ec";
  /** DER of its object identifier (RFC 5480, 2.1.1.1): CKA_EC_PARAMS. */
  readonly parameters: Uint8Array;
  /** As node:crypto names it. */
  readonly name: string;
  /** As a JWK names it (RFC 7518). */
  readonly jwk: string;
  /** Bytes of a coordinate, and of the order. */
  readonly size: number;
  readonly bits: number;
}

export interface RsaKind {
  readonly family: "rsa";
  readonly bits: number;
}

export const KINDS: { readonly [Type in RootKeyType]: Curve | RsaKind } = {
  p256: {
    ...{ family: "ec", parameters: fromHex("06082a8648ce3d030107") },
    ...{ name: "prime256v1", jwk: "P-256", size: 32, bits: 256 },
  },
  p384: {
    ...{ family: "ec", parameters: fromHex("06052b81040022") },
    ...{ name: "secp384r1", jwk: "P-384", size: 48, bits: 384 },
  },
  rsa2048: { family: "rsa", bits: 2048 },
  rsa3072: { family: "rsa", bits: 3072 },
  rsa4096: { family: "rsa", bits: 4096 },
};

/** Mechanisms that make, and use, a key of a family. */
const NEEDED: readonly {
  readonly family: "ec" | "rsa";
  readonly use: KeyMaking["use"];
  readonly types: readonly (readonly [type: number, flag: number])[];
}[] = [
  {
    family: "ec",
    use: "sign",
    types: [
      [CKM.EC_KEY_PAIR_GEN, CKF_MECHANISM.GENERATE_KEY_PAIR],
      [CKM.ECDSA, CKF_MECHANISM.SIGN],
    ],
  },
  {
    family: "ec",
    use: "agree",
    types: [
      [CKM.EC_KEY_PAIR_GEN, CKF_MECHANISM.GENERATE_KEY_PAIR],
      [CKM.ECDH1_DERIVE, CKF_MECHANISM.DERIVE],
    ],
  },
  {
    family: "rsa",
    use: "sign",
    types: [
      [CKM.RSA_PKCS_KEY_PAIR_GEN, CKF_MECHANISM.GENERATE_KEY_PAIR],
      [CKM.RSA_PKCS, CKF_MECHANISM.SIGN],
    ],
  },
];

/** Kinds of keys a token with these mechanisms makes. */
export function makesOf(mechanisms: readonly MechanismFacts[]): KeyMaking[] {
  return (Object.keys(KINDS) as RootKeyType[]).flatMap((algorithm) => {
    const { family, bits } = KINDS[algorithm];
    return NEEDED.filter(
      (one) => one.family === family && one.types.every(([type, flag]) => can(mechanisms, type, flag, bits)),
    ).map(({ use }) => ({ algorithm, use }));
  });
}

/** Whether keys of so many bits can be used by a mechanism. */
export function can(mechanisms: readonly MechanismFacts[], type: number, flag: number, bits: number): boolean {
  return mechanisms.some((one) => {
    // A module that says nothing of sizes says 0.
    const fits = one.most === 0 || (one.least <= bits && bits <= one.most);
    return one.type === type && (one.flags & flag) !== 0 && fits;
  });
}

/** What PKCS#11 calls the digests. */
const MECHANISMS = { sha256: CKM.SHA256, sha384: CKM.SHA384, sha512: CKM.SHA512 } as const;

/** CK_RSA_PKCS_PSS_PARAMS: hashAlg, mgf, sLen. */
export function pssParameter({ digest, saltLength }: SigningWay & { scheme: "rsa-pss" }): readonly number[] {
  return [MECHANISMS[digest], CKG_MGF1[digest], saltLength ?? DIGEST_INFO[digest].size];
}
