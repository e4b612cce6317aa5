/** Checking a token with the public part of a key: whose it is, for whom, and whether it holds now. */
import { ThornkeyError } from "../../errors.ts";
import type { KeyType } from "../../operations/key-types.ts";
import { mapIn, verifySign1 } from "./cose.ts";
import { CWT_CLAIMS, withoutCwtTag } from "./cwt.ts";
import { objectIn, verifyCompact } from "./jws.ts";

export interface VerifyOptions {
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  /** Seconds that clocks may differ; 60 without it. */
  readonly leeway?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

export interface VerifiedToken {
  readonly kind: "jwt" | "cwt";
  readonly header: { readonly [name: string]: unknown };
  readonly claims: { readonly [name: string]: unknown };
}

const LEEWAY = 60;

/**
 * @param token the text of a JWT, or a CWT: its bytes, or these in base64url
 * @throws ThornkeyError `MALFORMED` for what is no token; `NOT_PERMITTED` for one that does not hold, and why
 */
export function verifyToken(
  type: KeyType,
  publicKey: Uint8Array,
  token: string | Uint8Array,
  options: VerifyOptions = {},
): VerifiedToken {
  const verified =
    typeof token === "string" && token.includes(".")
      ? jwtOf(type, publicKey, token)
      : cwtOf(type, publicKey, typeof token === "string" ? new Uint8Array(Buffer.from(token, "base64url")) : token);
  if (verified === undefined) throw refused("the signature is not that of the key");
  mustHold(verified.claims, options);
  return verified;
}

function jwtOf(type: KeyType, publicKey: Uint8Array, token: string): VerifiedToken | undefined {
  const compact = verifyCompact(type, publicKey, token);
  return compact && { kind: "jwt", header: compact.header, claims: objectIn(compact.payload, "the payload") };
}

function cwtOf(type: KeyType, publicKey: Uint8Array, token: Uint8Array): VerifiedToken | undefined {
  const message = verifySign1(type, publicKey, withoutCwtTag(token));
  if (message === undefined) return undefined;
  const names = new Map<unknown, string>(Object.entries(CWT_CLAIMS).map(([name, number]) => [number, name]));
  const claims = [...mapIn(message.payload)].map(([key, value]) => [names.get(key) ?? `${key}`, plain(value)]);
  const header = [...message.unprotected, ...message.protected].map(([key, value]) => [`${key}`, plain(value)]);
  return { kind: "cwt", header: Object.fromEntries(header), claims: Object.fromEntries(claims) };
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([key, inner]) => [`${key}`, plain(inner)]));
}

function mustHold(claims: VerifiedToken["claims"], options: VerifyOptions): void {
  const { issuer, audience, leeway = LEEWAY, now = Date.now() } = options;
  const { iss, aud, exp, nbf } = claims;
  const seconds = now / 1000;
  for (const time of [exp, nbf]) {
    if (time !== undefined && typeof time !== "number")
      throw new ThornkeyError("MALFORMED", "a time that is no number");
  }
  if (typeof exp === "number" && seconds >= exp + leeway) throw refused(`it expired at ${timeText(exp)}`);
  if (typeof nbf === "number" && seconds < nbf - leeway) throw refused(`it holds from ${timeText(nbf)} on`);
  if (issuer !== undefined && iss !== issuer) throw refused("it is by another issuer");
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (audience !== undefined && !audiences.includes(audience)) throw refused("it is for another audience");
}

function timeText(seconds: number): string {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? `${seconds}` : time.toISOString();
}

function refused(why: string): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", `the token does not hold: ${why}`);
}
