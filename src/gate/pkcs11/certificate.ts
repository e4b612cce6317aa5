/** What PKCS#11 shows of an X.509 certificate (RFC 5280, 4.1). */
import { createHash } from "node:crypto";
import { type Element, elementsOf, encodeDer, TAG } from "../../bytes/asn1.ts";
import { CKR } from "./constants.ts";
import { refuse } from "./refusals.ts";

export interface CertificateParts {
  /** Each in DER, as it stands in the certificate. */
  readonly serial: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
}

/** @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID when it is not a certificate in DER */
export function partsOfCertificate(der: Uint8Array): CertificateParts {
  try {
    const [certificate, ...after] = elementsOf(der);
    const [tbs] = elementsOf(bodyOf(certificate, TAG.sequence));
    const fields = elementsOf(bodyOf(tbs, TAG.sequence));
    if (fields[0]?.tag === TAG.context0) fields.shift(); // the version
    const [serial, , issuer, , subject, spki] = fields;
    if (after.length > 0 || serial?.tag !== TAG.integer) refuse(CKR.ATTRIBUTE_VALUE_INVALID);
    return { serial: derOf(serial), issuer: derOf(issuer), subject: derOf(subject), spki: derOf(spki) };
  } catch {
    return refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  }
}

/** CKA_CHECK_VALUE: the first 3 bytes of SHA-1 over the whole. */
export function checkValueOf(der: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha1").update(der).digest()).slice(0, 3);
}

function bodyOf(element: Element | undefined, tag: number): Uint8Array {
  return element?.tag === tag ? element.body : refuse(CKR.ATTRIBUTE_VALUE_INVALID);
}

function derOf(element: Element | undefined): Uint8Array {
  if (element === undefined) return refuse(CKR.ATTRIBUTE_VALUE_INVALID);
  return encodeDer({ tag: element.tag, content: [element.body] });
}
