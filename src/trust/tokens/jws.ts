/** Signatures in JOSE's compact form (RFC 7515, 7.1). */
import { ThornkeyError } from "../../errors.ts";
import type { KeyType } from "../../operations/key-types.ts";
import { isSignature, publicKeyIn } from "../signatures.ts";
import type { Signer } from "../signer.ts";
import {
  TOKEN_ALGORITHMS,
  type TokenAlgorithmName,
  tokenAlgorithm,
  tokenAlgorithmOf,
  tokenAlgorithmsOf,
} from "./algorithms.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** What decides how a signature is checked: not for anybody to say. `b64` changes what is signed (RFC 7797). */
const OWN_HEADERS: ReadonlySet<string> = new Set(["alg", "crit", "b64"]);

/**
 * @param header besides `alg`
 * @param payload any bytes, or what is written as JSON
 * @returns the token. @throws ThornkeyError `USAGE`; what the vault says
 */
export async function signCompact(
  signer: Signer,
  header: JsonObject,
  payload: Uint8Array | JsonObject,
  wanted?: TokenAlgorithmName,
): Promise<string> {
  const odd = Object.keys(header).find((name) => OWN_HEADERS.has(name));
  if (odd !== undefined) throw new ThornkeyError("USAGE", `the header '${odd}' follows from the key`);
  const alg = tokenAlgorithmOf(signer.type, wanted);
  const body = payload instanceof Uint8Array ? payload : JSON.stringify(payload);
  const signed = `${base64url(JSON.stringify({ alg, ...header }))}.${base64url(body)}`;
  const signature = await signer.sign(new TextEncoder().encode(signed), tokenAlgorithm(alg).spec, "raw");
  return `${signed}.${base64url(signature)}`;
}

export interface Compact {
  readonly header: JsonObject;
  readonly payload: Uint8Array;
}

const MOST = 1_000_000;

/**
 * Checks a token with one public key. Which algorithms are possible follows from the key and not from the token.
 *
 * @returns undefined when the signature is not the key's
 * @throws ThornkeyError `MALFORMED` for what is no token; `NOT_SUPPORTED` for one that demands what is not known here
 */
export function verifyCompact(type: KeyType, publicKey: Uint8Array, token: string): Compact | undefined {
  const [, head = "", body = "", tail = ""] =
    /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)$/.exec(token) ?? [];
  if (head === "" || token.length > MOST) throw new ThornkeyError("MALFORMED", "not a token (JWS in the compact form)");
  const header = objectIn(Buffer.from(head, "base64url"), "the header");
  if (header.crit !== undefined) throw new ThornkeyError("NOT_SUPPORTED", "a token with critical headers");
  const alg = TOKEN_ALGORITHMS.find((name) => name === header.alg);
  if (alg === undefined || !tokenAlgorithmsOf(type).includes(alg)) return undefined;
  const signature = new Uint8Array(Buffer.from(tail, "base64url"));
  // Unused bits of the last character must not make a second token of the same signature.
  const one = base64url(signature) === tail;
  const message = new TextEncoder().encode(`${head}.${body}`);
  const valid = one && isSignature(tokenAlgorithm(alg).spec, publicKeyIn(publicKey), message, signature, "raw");
  return valid ? { header, payload: new Uint8Array(Buffer.from(body, "base64url")) } : undefined;
}

/** @throws ThornkeyError `MALFORMED` */
export function objectIn(bytes: Uint8Array, what: string): JsonObject {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  } catch {
    // the same as any other value
  }
  throw new ThornkeyError("MALFORMED", `${what} of the token is no JSON object`);
}

function base64url(value: Uint8Array | string): string {
  return Buffer.from(value as string).toString("base64url");
}
