/** Tokens of claims (JWT, RFC 7519), and those of OAuth that are made of them. */
import { createHash, randomUUID } from "node:crypto";
import { ThornkeyError } from "../../errors.ts";
import type { Signer } from "../signer.ts";
import type { TokenAlgorithmName } from "./algorithms.ts";
import { publicJwk, thumbprint } from "./jwk.ts";
import { type JsonObject, signCompact } from "./jws.ts";

export interface ClaimOptions {
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
  readonly audience?: string | readonly string[] | undefined;
  /** Seconds until it expires; 300 without it. */
  readonly expires?: number | undefined;
  /** Seconds until it may be used; at once without it. */
  readonly notBefore?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

export interface JwtOptions extends ClaimOptions {
  readonly claims?: JsonObject | undefined;
  readonly header?: JsonObject | undefined;
  readonly algorithm?: TokenAlgorithmName | undefined;
}

const DEFAULT_EXPIRY = 300;
/** Claims that have an option of their own. */
const REGISTERED: ReadonlySet<string> = new Set(["iss", "sub", "aud", "exp", "nbf", "iat"]);

/**
 * @returns a token with `iat`, `exp`, `jti` and, in its header, the key's thumbprint as `kid`
 * @throws ThornkeyError `USAGE`; what the vault says
 */
export function createJwt(signer: Signer, options: JwtOptions = {}): Promise<string> {
  const { claims = {}, header = {}, algorithm } = options;
  const odd = Object.keys(claims).find((name) => REGISTERED.has(name));
  if (odd !== undefined) {
    throw new ThornkeyError("USAGE", `the claim '${odd}' has an option of its own`, {
      hint: "they are issuer, subject, audience, expires, notBefore",
    });
  }
  const { issuer, subject, audience, ...times } = options;
  const body = {
    ...(issuer !== undefined && { iss: issuer }),
    ...(subject !== undefined && { sub: subject }),
    ...(audience !== undefined && { aud: audience }),
    ...timesOf(times),
    jti: randomUUID(),
    ...claims,
  };
  const kid = thumbprint(publicJwk(signer.publicKey));
  return signCompact(signer, { typ: "JWT", kid, ...header }, body, algorithm);
}

/** @returns seconds since 1970 */
export function timesOf({ expires = DEFAULT_EXPIRY, notBefore, now = Date.now() }: ClaimOptions) {
  const iat = Math.floor(now / 1000);
  return { iat, ...(notBefore !== undefined && { nbf: iat + notBefore }), exp: iat + expires };
}

export interface ProofOptions {
  readonly method: string;
  /** Where the request goes; its query and fragment are left out (RFC 9449, 4.2). */
  readonly url: string;
  /** The access token that goes with the request. */
  readonly accessToken?: string | undefined;
  /** What the server gave with `DPoP-Nonce`. */
  readonly nonce?: string | undefined;
  readonly algorithm?: TokenAlgorithmName | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

/**
 * A proof that whoever makes a request has the key (DPoP, RFC 9449).
 *
 * @throws ThornkeyError `USAGE` for what is no method or no URL of HTTP
 */
export function createProof(signer: Signer, options: ProofOptions): Promise<string> {
  const { method, url, accessToken, nonce, algorithm, now = Date.now() } = options;
  if (!/^[A-Za-z][A-Za-z!#$%&'*+.^_`|~-]*$/.test(method)) throw new ThornkeyError("USAGE", `'${method}' is no method`);
  const ath = accessToken && createHash("sha256").update(accessToken, "ascii").digest("base64url");
  const claims = {
    ...{ jti: randomUUID(), htm: method.toUpperCase(), htu: addressOf(url), iat: Math.floor(now / 1000) },
    ...(ath && { ath }),
    ...(nonce !== undefined && { nonce }),
  };
  return signCompact(signer, { typ: "dpop+jwt", jwk: publicJwk(signer.publicKey) }, claims, algorithm);
}

function addressOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || !["https:", "http:"].includes(url.protocol)) {
    throw new ThornkeyError("USAGE", `'${text}' is no URL of HTTP`, { hint: "write https://server.example/token" });
  }
  return `${url.origin}${url.pathname}`;
}

export interface AssertionOptions {
  /** The client's identifier at the server. */
  readonly client: string;
  /** The server's issuer identifier or token endpoint, whichever it wants. */
  readonly audience: string;
  readonly expires?: number | undefined;
  readonly header?: JsonObject | undefined;
  readonly algorithm?: TokenAlgorithmName | undefined;
  readonly now?: number | undefined;
}

/** What a client shows who it is with instead of a password (`private_key_jwt`; RFC 7523, 3; OpenID Connect Core, 9). */
export function createClientAssertion(signer: Signer, options: AssertionOptions): Promise<string> {
  const { client, ...rest } = options;
  return createJwt(signer, { ...rest, issuer: client, subject: client });
}
