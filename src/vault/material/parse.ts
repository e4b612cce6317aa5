import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { elementsOf, TAG } from "../../bytes/asn1.ts";
import { equal } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { openPrivateKey } from "../../machine/openssl/native-key.ts";
import { rsaNumbersFit } from "../../machine/openssl/rsa-numbers.ts";
import { factsOf, type KeyType, signatureAlgorithmsOf } from "../../operations/key-types.ts";
import { pointOf, rsaPublicOf } from "../../operations/public-keys.ts";
import { plain } from "./engine.ts";
import { isJwk, type Jwk, readJwk } from "./jwk.ts";
import { SYMMETRIC_BYTES } from "./load.ts";
import type { NewMaterial } from "./material.ts";
import { isOpenSsh, readOpenSsh } from "./openssh.ts";
import { DECRYPT_FIRST, findPemBlock, isPem } from "./pem.ts";
import {
  ecPrivateKeyOf,
  insideSequence,
  pkcs8Parts,
  pointPrivateKeyOf,
  rsaNumbersOf,
  rsaPrivateKeyOf,
  typeOfPkcs8,
} from "./pkcs8.ts";

/** A private key in one of the DER forms that OpenSSL reads. */
export interface ForeignKey {
  /** Our own array. */
  readonly der: Uint8Array;
  /** What the file says the public part is, where OpenSSL does not look at it: 32 bytes of an Ed25519 or X25519 key. */
  readonly publicPoint?: Uint8Array;
}

const MOST_BYTES = 16_384;

/**
 * Takes in a key that was made elsewhere: PKCS#8, SEC1 or PKCS#1 in PEM or DER, OpenSSH's own form, a JSON Web Key, or
 * the raw bytes of a symmetric key; none of them encrypted.
 *
 * @param bytes stay the caller's
 * @param type what it must be; needed for raw bytes, and for a JWK of a symmetric key without `alg`
 * @throws ThornkeyError `MALFORMED`, `NOT_SUPPORTED`: not one of our types; encrypted; private and public part do not
 *   belong together. The sentences show nothing of the input.
 */
export function parseMaterial(bytes: Uint8Array, type?: KeyType): NewMaterial {
  if (bytes.length > MOST_BYTES) throw new ThornkeyError("MALFORMED", `a key of more than ${MOST_BYTES} bytes`);
  try {
    return type !== undefined && factsOf(type).family === "symmetric"
      ? parseSymmetric(bytes, type)
      : parseAny(bytes, type);
  } catch (error) {
    throw error instanceof ThornkeyError ? error : new ThornkeyError("MALFORMED", "not a private key");
  }
}

function parseSymmetric(bytes: Uint8Array, type: KeyType): NewMaterial {
  if (bytes.length === SYMMETRIC_BYTES) return symmetric(type, new Uint8Array(bytes));
  if (isJwk(bytes)) return octets(readJwk(bytes), type);
  throw new ThornkeyError("MALFORMED", `a key of type ${type} has ${SYMMETRIC_BYTES} bytes`);
}

function parseAny(bytes: Uint8Array, type: KeyType | undefined): NewMaterial {
  const jwk = isJwk(bytes) ? readJwk(bytes) : undefined;
  if (jwk?.text("kty") === "oct") return octets(jwk, type);
  const foreign = jwk === undefined ? foreignKey(bytes) : jwkKey(jwk);
  try {
    return normalised(foreign, type);
  } finally {
    foreign.der.fill(0);
  }
}

/** Algorithms of RFC 7518 that say what a symmetric key is for. */
const OCTET_TYPES: { readonly [alg: string]: KeyType | undefined } = {
  A256GCM: "aes256",
  A256KW: "aes256",
  A256GCMKW: "aes256",
  HS256: "hmac256",
  HS384: "hmac256",
  HS512: "hmac256",
};

function octets(jwk: Jwk, wanted: KeyType | undefined): NewMaterial {
  const said = OCTET_TYPES[jwk.text("alg") ?? ""];
  const type = wanted ?? said;
  if (type === undefined) {
    throw new ThornkeyError("MALFORMED", "a symmetric key that does not say what it is for", {
      hint: "say the type: aes256 or hmac256",
    });
  }
  if (jwk.text("kty") !== "oct" || factsOf(type).family !== "symmetric" || (said ?? type) !== type)
    throw otherType(type);
  return symmetric(type, jwk.bytes("k"));
}

/** @param key taken over */
function symmetric(type: KeyType, key: Uint8Array): NewMaterial {
  if (key.length === SYMMETRIC_BYTES) return { type, secret: new Secret(key), publicKey: undefined };
  key.fill(0);
  throw new ThornkeyError("MALFORMED", `a key of type ${type} has ${SYMMETRIC_BYTES} bytes`);
}

function foreignKey(bytes: Uint8Array): ForeignKey {
  if (isOpenSsh(bytes)) return readOpenSsh(bytes);
  if (!isPem(bytes)) return { der: new Uint8Array(bytes) }; // not slice: of a Buffer that would be a view
  const { label, der } = findPemBlock(bytes, "PRIVATE KEY");
  if (label === "ENCRYPTED PRIVATE KEY") throw encrypted();
  if (label !== "OPENSSH PRIVATE KEY") return { der };
  try {
    return readOpenSsh(der);
  } finally {
    der.fill(0);
  }
}

const JWK_CURVES = { "P-256": "p256", "P-384": "p384", "P-521": "p521", secp256k1: "secp256k1" } as const;
const JWK_POINTS = { Ed25519: "ed25519", X25519: "x25519" } as const;
const RSA_MEMBERS = ["n", "e", "d", "p", "q", "dp", "dq", "qi"] as const;

function jwkKey(jwk: Jwk): ForeignKey {
  const made: Uint8Array[] = [];
  const member = (name: string) => {
    const bytes = jwk.bytes(name);
    made.push(bytes);
    return bytes;
  };
  const curve = jwk.text("crv") ?? "";
  try {
    switch (jwk.text("kty")) {
      case "EC": {
        if (!isOneOf(JWK_CURVES, curve)) throw notOurs();
        const [x, y] = [member("x"), member("y")];
        const point = new Uint8Array(x.length + y.length);
        point.set(x);
        point.set(y, x.length);
        return { der: ecPrivateKeyOf(JWK_CURVES[curve], member("d"), point) };
      }
      case "OKP":
        if (!isOneOf(JWK_POINTS, curve)) throw notOurs();
        return { der: pointPrivateKeyOf(JWK_POINTS[curve], member("d")), publicPoint: jwk.bytes("x") };
      case "RSA": {
        if (jwk.has("oth")) throw notOurs();
        const [n, e, d, p, q, dp, dq, qi] = RSA_MEMBERS.map(member);
        if (!(n && e && d && p && q && dp && dq && qi)) throw notOurs();
        return { der: rsaPrivateKeyOf({ n, e, d, p, q, dp, dq, qi }) };
      }
      default:
        throw notOurs();
    }
  } finally {
    for (const bytes of made) bytes.fill(0);
  }
}

function isOneOf<Table extends object>(table: Table, name: PropertyKey): name is keyof Table {
  return Object.hasOwn(table, name);
}

/** Checks a key and writes it as PKCS#8. */
function normalised(foreign: ForeignKey, wanted: KeyType | undefined): NewMaterial {
  const { der, publicPoint } = withoutPublicPart(foreign);
  const form = formOf(der);
  const key = createPrivateKey({ key: Buffer.from(der.buffer, der.byteOffset, der.length), format: "der", type: form });
  if (der !== foreign.der) der.fill(0);
  const publicKey = createPublicKey(key);
  const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  const secret = new Secret(plain(key.export({ format: "der", type: "pkcs8" })));
  try {
    const type = secret.use(typeOfPkcs8);
    if (type === undefined) throw notOurs();
    if (wanted !== undefined && wanted !== type) throw otherType(wanted);
    const point = factsOf(type).family === "rsa" ? rsaPublicOf(type, spki)?.n : pointOf(type, spki);
    if (point === undefined) throw notOurs();
    if (publicPoint !== undefined && !equal(publicPoint, point)) throw doNotFit();
    if (!secret.use((pkcs8) => fits(type, pkcs8))) throw doNotFit();
    const [algorithm] = signatureAlgorithmsOf(type);
    if (algorithm !== undefined) {
      const digest = algorithm === "ed25519" ? null : "sha256";
      if (!verify(digest, PROBE, publicKey, sign(digest, PROBE, key))) throw doNotFit();
    }
    return { type, secret, publicKey: spki };
  } catch (error) {
    secret.destroy();
    throw error;
  }
}

/** Whatever is signed to see whether private and public part belong together. */
const PROBE = new TextEncoder().encode("thornkey: is this a key pair?");

/** Ranges and numbers, where OpenSSL's functions are to be had; the signature is tried in any case. */
function fits(type: KeyType, pkcs8: Uint8Array): boolean {
  if (factsOf(type).family === "rsa") return rsaNumbersFit(rsaNumbersOf(pkcs8Parts(pkcs8).key)) ?? true;
  const native = openPrivateKey(pkcs8);
  try {
    return native?.isConsistent() ?? true;
  } finally {
    native?.close();
  }
}

/** Tells the DER forms apart by the tags of what is in them. */
function formOf(der: Uint8Array): "pkcs8" | "sec1" | "pkcs1" {
  const [first, second] = insideSequence(der);
  if (first?.tag === TAG.sequence) {
    if (second?.tag === TAG.octetString) throw encrypted();
    throw new ThornkeyError("MALFORMED", "not a private key, but perhaps a public key or a certificate");
  }
  const form = first?.tag === TAG.integer ? FORMS[second?.tag ?? 0] : undefined;
  return form ?? malformedKey();
}

const FORMS: { readonly [secondTag: number]: "pkcs8" | "sec1" | "pkcs1" | undefined } = {
  [TAG.sequence]: "pkcs8",
  [TAG.octetString]: "sec1",
  [TAG.integer]: "pkcs1",
};

/** OpenSSL 3.0 does not read PKCS#8 of version 2 (RFC 5958), which has the public part after an Ed25519 or X25519 key. */
function withoutPublicPart(foreign: ForeignKey): ForeignKey {
  if (formOf(foreign.der) !== "pkcs8") return foreign;
  const { key, others } = pkcs8Parts(foreign.der);
  const type = typeOfPkcs8(foreign.der);
  const bits = others.find(({ tag }) => tag === TAG.primitive1)?.body;
  if (bits === undefined || (type !== "ed25519" && type !== "x25519")) return foreign;
  const [seed, ...after] = elementsOf(key);
  if (seed?.tag !== TAG.octetString || after.length > 0 || bits[0] !== 0) return malformedKey();
  return { der: pointPrivateKeyOf(type, seed.body), publicPoint: new Uint8Array(bits.subarray(1)) };
}

function malformedKey(): never {
  throw new ThornkeyError("MALFORMED", "not a private key");
}

function encrypted(): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", "the private key is encrypted", { hint: DECRYPT_FIRST });
}

function notOurs(): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", "a private key of a type the vault does not have", {
    hint: "RSA of 2048, 3072 or 4096 bits, P-256, P-384, P-521, secp256k1, Ed25519 and X25519 can be imported",
  });
}

function otherType(wanted: KeyType): ThornkeyError {
  return new ThornkeyError("MALFORMED", `this key is not of type ${wanted}`);
}

function doNotFit(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "the private and the public part of this key do not belong together");
}
