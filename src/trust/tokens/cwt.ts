/** Tokens of claims in CBOR (CWT, RFC 8392). */
import { randomBytes } from "node:crypto";
import { encode } from "cborg";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Signer } from "../signer.ts";
import type { TokenAlgorithmName } from "./algorithms.ts";
import { type Cbor, type CborMap, signSign1 } from "./cose.ts";
import { publicJwk, thumbprint } from "./jwk.ts";
import { type ClaimOptions, timesOf } from "./jwt.ts";

/** RFC 8392, 3.1. */
export const CWT_CLAIMS = { iss: 1, sub: 2, aud: 3, exp: 4, nbf: 5, iat: 6, cti: 7 } as const;

/** Tag 61, CWT, as it is written. */
const CWT_TAG = Uint8Array.of(0xd8, 0x3d);

export interface CwtOptions extends ClaimOptions {
  /** By name or number; not the ones that have options of their own. */
  readonly claims?: CborMap | undefined;
  readonly algorithm?: TokenAlgorithmName | undefined;
}

/**
 * @returns CWT, tagged: 61(18([…])); with `iat`, `exp`, `cti`; the key's thumbprint is its `kid`
 * @throws ThornkeyError `USAGE`; what the vault says
 */
export async function createCwt(signer: Signer, options: CwtOptions = {}): Promise<Uint8Array> {
  const { issuer, subject, audience, claims = new Map(), algorithm } = options;
  const taken: readonly (string | number)[] = Object.values(CWT_CLAIMS);
  const odd = [...claims.keys()].find((name) => taken.includes(name));
  if (odd !== undefined) throw new ThornkeyError("USAGE", `the claim ${odd} has an option of its own`);
  const { iat, nbf, exp } = timesOf(options);
  const named: [keyof typeof CWT_CLAIMS, Cbor | undefined][] = [
    ["iss", issuer],
    ["sub", subject],
    ["aud", audience],
    ["exp", exp],
    ["nbf", nbf],
    ["iat", iat],
    ["cti", new Uint8Array(randomBytes(16))],
  ];
  const body = new Map<string | number, Cbor>(claims);
  for (const [name, value] of named) if (value !== undefined) body.set(CWT_CLAIMS[name], value);
  const keyId = new Uint8Array(Buffer.from(thumbprint(publicJwk(signer.publicKey)), "base64url"));
  return concat(CWT_TAG, await signSign1(signer, encode(body), { keyId, algorithm }));
}

/** @returns the message of COSE within. */
export function withoutCwtTag(token: Uint8Array): Uint8Array {
  return token[0] === CWT_TAG[0] && token[1] === CWT_TAG[1] ? token.subarray(2) : token;
}
