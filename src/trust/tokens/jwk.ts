/** Public keys as JWK (RFC 7517), and their thumbprints (RFC 7638). */
import { createHash } from "node:crypto";
import { publicKeyAs } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";

export type Jwk = { readonly [member: string]: string };

/** The members that make the key, in the order of the alphabet (RFC 7638, 3.2; RFC 8037, 2). */
const MEMBERS: { readonly [kty: string]: readonly string[] } = {
  EC: ["crv", "kty", "x", "y"],
  OKP: ["crv", "kty", "x"],
  RSA: ["e", "kty", "n"],
};

/** @param spki SubjectPublicKeyInfo, DER. @returns only what makes the key. @throws ThornkeyError `NOT_SUPPORTED` */
export function publicJwk(spki: Uint8Array): Jwk {
  const jwk = JSON.parse(publicKeyAs("jwk", spki)) as Jwk;
  const members = MEMBERS[jwk.kty ?? ""];
  if (members === undefined) throw new ThornkeyError("NOT_SUPPORTED", "a key of this type has no JWK");
  return Object.fromEntries(members.map((member) => [member, jwk[member] ?? ""]));
}

/** @returns SHA-256, base64url */
export function thumbprint(jwk: Jwk): string {
  return createHash("sha256").update(JSON.stringify(jwk)).digest("base64url");
}
