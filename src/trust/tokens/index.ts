export { TOKEN_ALGORITHMS, type TokenAlgorithmName } from "./algorithms.ts";
export { type Cbor, type CborMap, type Sign1, type Sign1Options, signSign1, verifySign1 } from "./cose.ts";
export { CWT_CLAIMS, type CwtOptions, createCwt } from "./cwt.ts";
export { type Jwk, publicJwk, thumbprint } from "./jwk.ts";
export { type Compact, type Json, type JsonObject, signCompact, verifyCompact } from "./jws.ts";
export {
  type AssertionOptions,
  createClientAssertion,
  createJwt,
  createProof,
  type JwtOptions,
  type ProofOptions,
} from "./jwt.ts";
export { type VerifiedToken, type VerifyOptions, verifyToken } from "./verify.ts";
