/** The algorithms of tokens: their names in JOSE (RFC 7518, 8037, 8812) and numbers in COSE (RFC 9053, 8812, 8230). */
import { ThornkeyError } from "../../errors.ts";
import { factsOf, type KeyType } from "../../operations/key-types.ts";
import type { SignatureSpec } from "../signer.ts";

interface TokenAlgorithm {
  readonly cose: number;
  readonly spec: SignatureSpec;
  /** The key types that sign with it: one, or all of RSA. */
  readonly type: KeyType | "rsa";
}

const ecdsa = (type: KeyType, cose: number, digest: "sha256" | "sha384" | "sha512"): TokenAlgorithm => ({
  ...{ type, cose, spec: { algorithm: "ecdsa", digest } },
});
const rsa = (
  algorithm: "rsa-pkcs1" | "rsa-pss",
  cose: number,
  digest: "sha256" | "sha384" | "sha512",
): TokenAlgorithm => ({ type: "rsa", cose, spec: { algorithm, digest } });

/** Of those a type has, the first is its default. */
const ALGORITHMS = {
  ES256: ecdsa("p256", -7, "sha256"),
  ES384: ecdsa("p384", -35, "sha384"),
  ES512: ecdsa("p521", -36, "sha512"),
  ES256K: ecdsa("secp256k1", -47, "sha256"),
  EdDSA: { type: "ed25519", cose: -8, spec: { algorithm: "ed25519" } },
  PS256: rsa("rsa-pss", -37, "sha256"),
  PS384: rsa("rsa-pss", -38, "sha384"),
  PS512: rsa("rsa-pss", -39, "sha512"),
  RS256: rsa("rsa-pkcs1", -257, "sha256"),
  RS384: rsa("rsa-pkcs1", -258, "sha384"),
  RS512: rsa("rsa-pkcs1", -259, "sha512"),
} as const satisfies { readonly [name: string]: TokenAlgorithm };

export type TokenAlgorithmName = keyof typeof ALGORITHMS;
export const TOKEN_ALGORITHMS = Object.keys(ALGORITHMS) as readonly TokenAlgorithmName[];

export function tokenAlgorithm(name: TokenAlgorithmName): TokenAlgorithm {
  return ALGORITHMS[name];
}

/** @returns what a key of the type signs tokens with, the default first */
export function tokenAlgorithmsOf(type: KeyType): readonly TokenAlgorithmName[] {
  const isRsa = factsOf(type).family === "rsa";
  return TOKEN_ALGORITHMS.filter((name) => ALGORITHMS[name].type === (isRsa ? "rsa" : type));
}

/**
 * @param wanted one that the type has; its default without it
 * @throws ThornkeyError `NOT_SUPPORTED`, `USAGE`
 */
export function tokenAlgorithmOf(type: KeyType, wanted?: TokenAlgorithmName): TokenAlgorithmName {
  const possible = tokenAlgorithmsOf(type);
  const [first] = possible;
  if (first === undefined) throw new ThornkeyError("NOT_SUPPORTED", `a key of the type ${type} signs no tokens`);
  if (wanted === undefined || possible.includes(wanted)) return wanted ?? first;
  throw new ThornkeyError("USAGE", `a key of the type ${type} does not sign with ${wanted}`, {
    hint: `it signs with ${possible.join(", ")}`,
  });
}
