/** Requests for certificates (PKCS#10, RFC 2986). */
import { Attributes, CertificationRequest, CertificationRequestInfo } from "@peculiar/asn1-csr";
import { Attribute, Extensions } from "@peculiar/asn1-x509";
import { ThornkeyError } from "../../errors.ts";
import { publicKeyIn } from "../signatures.ts";
import type { Signer } from "../signer.ts";
import { type CertificateAlgorithm, certificateAlgorithmOf, isSignedBy } from "./algorithms.ts";
import type { AlternativeName } from "./alternative-names.ts";
import { readSigned, signed } from "./certificate.ts";
import { dottedOf, fieldsOf, only, TYPE } from "./der.ts";
import { extensionsFor, readExtensions, type Statements, statementsOf } from "./extensions.ts";
import { encodeName, readName } from "./names.ts";
import { bufferOf, encodeSchema, nameOf, publicKeyOf } from "./schema.ts";
import type { Usage } from "./usages.ts";

/** RFC 2985, 5.4.2: extensions that are asked for. */
const EXTENSION_REQUEST = "1.2.840.113549.1.9.14";

export interface RequestOptions {
  /** As RFC 4514 or OpenSSL writes it; may be empty where there are alternative names. */
  readonly subject: string;
  readonly names?: readonly AlternativeName[] | undefined;
  readonly usages?: readonly Usage[] | undefined;
  /** Default: what fits the key's type. */
  readonly algorithm?: CertificateAlgorithm | undefined;
}

/**
 * @returns CertificationRequest, DER
 * @throws ThornkeyError `USAGE` for a name that is none; `NOT_SUPPORTED`; what the vault says
 */
export async function createRequest(signer: Signer, options: RequestOptions): Promise<Uint8Array> {
  const { names = [], usages } = options;
  const algorithm = certificateAlgorithmOf(signer.type, options.algorithm);
  const subject = encodeName(options.subject);
  const namesAreSubject = mustNameSomebody(subject, names);
  const wanted = extensionsFor({ names, usages, namesAreSubject });
  const values = [bufferOf(encodeSchema(new Extensions(wanted)))];
  const body = new CertificationRequestInfo({
    version: 0,
    subject: nameOf(subject),
    subjectPKInfo: publicKeyOf(signer.publicKey),
    attributes: new Attributes(wanted.length === 0 ? [] : [new Attribute({ type: EXTENSION_REQUEST, values })]),
  });
  return signed(signer, algorithm, body, (signatureAlgorithm, signature) => {
    return new CertificationRequest({ certificationRequestInfo: body, signatureAlgorithm, signature });
  });
}

/** @returns whether the alternative names have to stand for the subject. @throws ThornkeyError `USAGE` */
export function mustNameSomebody(subject: Uint8Array, names: readonly AlternativeName[]): boolean {
  if (readName(subject).length > 0) return false;
  if (names.length > 0) return true;
  throw new ThornkeyError("USAGE", "neither a subject nor an alternative name", {
    hint: "say --subject CN=NAME, or --san dns:NAME",
  });
}

/** What somebody asks for, who has shown that he has the key. */
export interface CertificateRequest extends Statements {
  /** Name, DER. */
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
}

/**
 * Reads a request and checks its signature.
 *
 * @param der CertificationRequest
 * @throws ThornkeyError `MALFORMED`, also when whoever asks has not shown that he has the key; `NOT_SUPPORTED` for a
 *   signature of a kind that is not taken
 */
export function readRequest(der: Uint8Array): CertificateRequest {
  const { body, algorithm, signature, ...request } = parse(der);
  if (!isSignedBy(algorithm, request.publicKey, body, signature)) {
    throw new ThornkeyError("MALFORMED", "the signature of the request is not that of its key");
  }
  return request;
}

function parse(der: Uint8Array) {
  try {
    const document = readSigned(der);
    const fields = fieldsOf(only(TYPE.sequence, document.body));
    fields.next(TYPE.integer);
    const [subject, publicKey] = [fields.whole(TYPE.sequence), fields.whole(TYPE.sequence)];
    const attributes = fieldsOf(fields.optional(TYPE.context0) ?? new Uint8Array(0));
    fields.end();
    readName(subject);
    publicKeyIn(publicKey);
    let wanted: Uint8Array = new Uint8Array(0);
    while (attributes.more) {
      const attribute = fieldsOf(attributes.next(TYPE.sequence));
      if (dottedOf(attribute.next(TYPE.oid)) !== EXTENSION_REQUEST) continue;
      wanted = only(TYPE.sequence, attribute.next(TYPE.set));
    }
    return { ...document, subject, publicKey, ...statementsOf(readExtensions(wanted)) };
  } catch (cause) {
    if (!(cause instanceof ThornkeyError)) throw cause;
    throw new ThornkeyError("MALFORMED", `not a request for a certificate (PKCS#10): ${cause.message}`, { cause });
  }
}
