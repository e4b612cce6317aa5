/**
 * The signatures of X.509 (RFC 5758, 8410, 8017, 4055): how each is named, made by the vault, and checked here without it.
 */
import { RsaSaPssParams } from "@peculiar/asn1-rsa";
import { AlgorithmIdentifier } from "@peculiar/asn1-x509";
import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { type Digest, factsOf, type KeyType } from "../../operations/key-types.ts";
import { isSignature, publicKeyIn, SALT_LENGTHS } from "../signatures.ts";
import type { SignatureSpec } from "../signer.ts";
import { bufferOf, encodeSchema } from "./schema.ts";

interface Algorithm {
  readonly schema: AlgorithmIdentifier;
  /** The same, DER. */
  readonly identifier: Uint8Array;
  readonly spec: SignatureSpec;
  /** What node:crypto calls the key's type. */
  readonly key: "ec" | "rsa" | "ed25519";
}

const DIGEST_OIDS: { readonly [Name in Digest]?: string } = {
  sha256: "2.16.840.1.101.3.4.2.1",
  sha384: "2.16.840.1.101.3.4.2.2",
  sha512: "2.16.840.1.101.3.4.2.3",
};
const [MGF1, RSASSA_PSS] = ["1.2.840.113549.1.1.8", "1.2.840.113549.1.1.10"];

function row(schema: AlgorithmIdentifier, spec: SignatureSpec, key: Algorithm["key"]): Algorithm {
  return { schema, identifier: encodeSchema(schema), spec, key };
}

function ecdsa(algorithm: string, digest: Digest): Algorithm {
  return row(new AlgorithmIdentifier({ algorithm }), { algorithm: "ecdsa", digest }, "ec");
}

function pkcs1(algorithm: string, digest: Digest): Algorithm {
  return row(new AlgorithmIdentifier({ algorithm, parameters: null }), { algorithm: "rsa-pkcs1", digest }, "rsa");
}

/** RSASSA-PSS-params (RFC 4055, 3.1): the digest, MGF1 with the same, a salt as long. */
function pss(digest: Digest): Algorithm {
  const hashAlgorithm = new AlgorithmIdentifier({ algorithm: DIGEST_OIDS[digest] ?? "", parameters: null });
  const maskGenAlgorithm = new AlgorithmIdentifier({
    algorithm: MGF1,
    parameters: bufferOf(encodeSchema(hashAlgorithm)),
  });
  const saltLength = SALT_LENGTHS[digest] ?? 0;
  const parameters = bufferOf(encodeSchema(new RsaSaPssParams({ hashAlgorithm, maskGenAlgorithm, saltLength })));
  const schema = new AlgorithmIdentifier({ algorithm: RSASSA_PSS, parameters });
  return row(schema, { algorithm: "rsa-pss", digest }, "rsa");
}

const ALGORITHMS = {
  "ecdsa-sha256": ecdsa("1.2.840.10045.4.3.2", "sha256"),
  "ecdsa-sha384": ecdsa("1.2.840.10045.4.3.3", "sha384"),
  "ecdsa-sha512": ecdsa("1.2.840.10045.4.3.4", "sha512"),
  "rsa-sha256": pkcs1("1.2.840.113549.1.1.11", "sha256"),
  "rsa-sha384": pkcs1("1.2.840.113549.1.1.12", "sha384"),
  "rsa-sha512": pkcs1("1.2.840.113549.1.1.13", "sha512"),
  "rsa-pss-sha256": pss("sha256"),
  "rsa-pss-sha384": pss("sha384"),
  "rsa-pss-sha512": pss("sha512"),
  ed25519: row(new AlgorithmIdentifier({ algorithm: "1.3.101.112" }), { algorithm: "ed25519" }, "ed25519"),
} as const satisfies { readonly [name: string]: Algorithm };

export type CertificateAlgorithm = keyof typeof ALGORITHMS;

/** What a type signs certificates with; the first is the default. */
const BY_TYPE: { readonly [Type in KeyType]?: readonly CertificateAlgorithm[] } = {
  p256: ["ecdsa-sha256"],
  p384: ["ecdsa-sha384"],
  p521: ["ecdsa-sha512"],
  secp256k1: ["ecdsa-sha256"],
  ed25519: ["ed25519"],
};
const RSA = ["rsa-sha256", "rsa-sha384", "rsa-sha512", "rsa-pss-sha256", "rsa-pss-sha384", "rsa-pss-sha512"] as const;

export const CERTIFICATE_ALGORITHMS = Object.keys(ALGORITHMS) as readonly CertificateAlgorithm[];

export function algorithmOf(name: CertificateAlgorithm): Algorithm {
  return ALGORITHMS[name];
}

/**
 * @param wanted one that the type has; its default without it
 * @throws ThornkeyError `NOT_SUPPORTED`, `USAGE`
 */
export function certificateAlgorithmOf(type: KeyType, wanted?: CertificateAlgorithm): CertificateAlgorithm {
  const possible = factsOf(type).family === "rsa" ? RSA : (BY_TYPE[type] ?? []);
  const [first] = possible;
  if (first === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", `a key of the type ${type} signs no certificates`, {
      hint: "p256, p384, p521, secp256k1, ed25519 and rsa keys do",
    });
  }
  if (wanted === undefined || possible.includes(wanted)) return wanted ?? first;
  throw new ThornkeyError("USAGE", `a key of the type ${type} does not sign with ${wanted}`, {
    hint: `it signs with ${possible.join(", ")}`,
  });
}

/** @param identifier AlgorithmIdentifier, DER. @returns its name; undefined for one the table does not have */
export function algorithmNamed(identifier: Uint8Array): CertificateAlgorithm | undefined {
  return CERTIFICATE_ALGORITHMS.find((name) => equal(ALGORITHMS[name].identifier, identifier));
}

/**
 * @param identifier AlgorithmIdentifier of the signature, DER
 * @param spki of who is said to have signed
 * @param signature the bits of the signature
 * @throws ThornkeyError `NOT_SUPPORTED` for an algorithm the table does not have
 */
export function isSignedBy(
  identifier: Uint8Array,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const name = algorithmNamed(identifier);
  if (name === undefined) throw new ThornkeyError("NOT_SUPPORTED", "a signature of a kind that is not taken here");
  const { spec, key } = ALGORITHMS[name];
  const publicKey = publicKeyIn(spki);
  if (publicKey.asymmetricKeyType !== key) return false;
  return isSignature(spec, publicKey, message, signature, "der");
}
