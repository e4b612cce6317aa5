/** Certificates (RFC 5280, version 3): written, signed by the vault; read. */
import { createHash, X509Certificate } from "node:crypto";
import {
  type AlgorithmIdentifier,
  Certificate as CertificateSchema,
  type Extension as ExtensionSchema,
  Extensions,
  TBSCertificate,
  Validity as ValiditySchema,
  Version,
} from "@peculiar/asn1-x509";
import { unsignedDigits } from "../../bytes/asn1.ts";
import { equal, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { publicKeyIn } from "../signatures.ts";
import type { Signer } from "../signer.ts";
import { algorithmOf, type CertificateAlgorithm, isSignedBy } from "./algorithms.ts";
import { fieldsOf, only, TYPE } from "./der.ts";
import { type Extensions as ReadExtensions, readExtensions, type Statements, statementsOf } from "./extensions.ts";
import { nameText } from "./names.ts";
import { bufferOf, encodeSchema, integerBuffer, nameOf, publicKeyOf } from "./schema.ts";
import { readValidity, secondOf, type Validity } from "./validity.ts";

export interface CertificateFields extends Validity {
  /** Unsigned, big endian; 20 bytes at most. */
  readonly serial: Uint8Array;
  /** Name, DER; and so the subject. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly extensions: readonly ExtensionSchema[];
}

/** @returns the certificate, DER */
export async function signCertificate(
  signer: Signer,
  algorithm: CertificateAlgorithm,
  fields: CertificateFields,
): Promise<Uint8Array> {
  const body = new TBSCertificate({
    version: Version.v3,
    serialNumber: integerBuffer(fields.serial),
    signature: algorithmOf(algorithm).schema,
    issuer: nameOf(fields.issuer),
    validity: new ValiditySchema({ notBefore: secondOf(fields.notBefore), notAfter: secondOf(fields.notAfter) }),
    subject: nameOf(fields.subject),
    subjectPublicKeyInfo: publicKeyOf(fields.publicKey),
    extensions: new Extensions([...fields.extensions]),
  });
  return signed(signer, algorithm, body, (signatureAlgorithm, signatureValue) => {
    return new CertificateSchema({ tbsCertificate: body, signatureAlgorithm, signatureValue });
  });
}

/**
 * @param body what is signed
 * @param whole puts it together with its signature, as all documents of X.509 are
 * @returns DER
 */
export async function signed(
  signer: Signer,
  algorithm: CertificateAlgorithm,
  body: object,
  whole: (algorithm: AlgorithmIdentifier, signature: ArrayBuffer) => object,
): Promise<Uint8Array> {
  const { schema, identifier, spec } = algorithmOf(algorithm);
  const message = encodeSchema(body);
  const signature = await signer.sign(message, spec, "der");
  // A wrong signature, of hardware that is failing, would be found out only in the field.
  if (!isSignedBy(identifier, signer.publicKey, message, signature)) {
    throw new ThornkeyError("FAILED", `the signature by ${signer.name} is not that of its key`, {
      hint: "try again; if it stays so, thornkey doctor looks for the cause",
    });
  }
  return encodeSchema(whole(schema, bufferOf(signature)));
}

export interface SignedDocument {
  /** What is signed, DER. */
  readonly body: Uint8Array;
  /** AlgorithmIdentifier, DER. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** @throws ThornkeyError `MALFORMED` */
export function readSigned(der: Uint8Array): SignedDocument {
  const fields = fieldsOf(only(TYPE.sequence, der));
  const [body, algorithm, bits] = [
    fields.whole(TYPE.sequence),
    fields.whole(TYPE.sequence),
    fields.next(TYPE.bitString),
  ];
  fields.end();
  if (bits[0] !== 0) throw new ThornkeyError("MALFORMED", "a signature that ends within a byte");
  return { body, algorithm, signature: bits.subarray(1) };
}

export interface Certificate extends SignedDocument, Validity, Statements {
  /** As it is, whole. */
  readonly der: Uint8Array;
  /** In hexadecimal digits. */
  readonly serial: string;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly extensions: ReadExtensions;
}

/**
 * Does not check the signature.
 *
 * @throws ThornkeyError `MALFORMED`
 */
export function readCertificate(der: Uint8Array): Certificate {
  try {
    const document = readSigned(der);
    const fields = fieldsOf(only(TYPE.sequence, document.body));
    fields.optional(TYPE.context0);
    const serial = toHex(unsignedDigits(fields.next(TYPE.integer)));
    if (!equal(fields.whole(TYPE.sequence), document.algorithm)) {
      throw new ThornkeyError("MALFORMED", "it names two algorithms of its signature");
    }
    const issuer = fields.whole(TYPE.sequence);
    const validity = readValidity(fieldsOf(fields.next(TYPE.sequence)));
    const [subject, publicKey] = [fields.whole(TYPE.sequence), fields.whole(TYPE.sequence)];
    // Unique identifiers ([1], [2]) have not been in use since RFC 3280.
    for (const tag of [0x81, 0x82]) fields.optional(tag);
    const list = fields.optional(TYPE.context3);
    fields.end();
    const extensions = readExtensions(list === undefined ? new Uint8Array(0) : only(TYPE.sequence, list));
    const names = { issuer, subject, publicKey, extensions };
    return { ...document, der, serial, ...validity, ...names, ...statementsOf(extensions) };
  } catch (cause) {
    if (!(cause instanceof ThornkeyError)) throw cause;
    throw new ThornkeyError("MALFORMED", `not a certificate of X.509: ${cause.message}`, { cause });
  }
}

/** @returns whether the holder of `issuer` signed it, by whatever algorithm OpenSSL knows */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  if (!equal(certificate.issuer, issuer.subject)) return false;
  try {
    return new X509Certificate(certificate.der).verify(publicKeyIn(issuer.publicKey));
  } catch {
    return false;
  }
}

export function isSelfSigned(certificate: Certificate): boolean {
  return isIssuedBy(certificate, certificate);
}

/** What of a certificate is for people and scripts to read. */
export function describeCertificate(certificate: Certificate) {
  const { serial, subject, issuer, notBefore, notAfter, names, authority, keyUsages, purposes } = certificate;
  return {
    serial,
    ...{ subject: nameText(subject), issuer: nameText(issuer) },
    ...{ notBefore: new Date(notBefore).toISOString(), notAfter: new Date(notAfter).toISOString() },
    names,
    authority: authority !== undefined,
    ...(authority?.pathLength !== undefined && { pathLength: authority.pathLength }),
    usages: [...(keyUsages ?? []), ...(purposes ?? [])],
    sha256: createHash("sha256").update(certificate.der).digest("hex"),
  };
}
