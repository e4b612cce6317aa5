/** Lists of revoked certificates (RFC 5280, 5: CRL version 2). */
import {
  CertificateList,
  CRLNumber,
  CRLReason,
  RevokedCertificate,
  TBSCertList,
  Time,
  Version,
} from "@peculiar/asn1-x509";
import { fromHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Signer } from "../signer.ts";
import { algorithmOf, type CertificateAlgorithm } from "./algorithms.ts";
import { signed } from "./certificate.ts";
import { authorityKeyIdentifier, EXTENSION, extension } from "./extensions.ts";
import { encodeSchema, integerBuffer, nameOf } from "./schema.ts";
import { secondOf } from "./validity.ts";

/** CRLReason (RFC 5280, 5.3.1). `removeFromCRL` is for delta lists, which are not made here. */
const REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;
export type RevocationReason = keyof typeof REASONS;
export const REVOCATION_REASONS = Object.keys(REASONS) as readonly RevocationReason[];

/** @throws ThornkeyError `USAGE` */
export function reasonOf(name: string): RevocationReason {
  const known = REVOCATION_REASONS.find((reason) => reason.toLowerCase() === name.toLowerCase());
  if (known !== undefined) return known;
  throw new ThornkeyError("USAGE", `there is no reason '${name}'`, {
    hint: `there are ${REVOCATION_REASONS.join(", ")}`,
  });
}

export interface Revoked {
  /** In hexadecimal digits. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly reason: RevocationReason;
}

export interface ListFields {
  /** Name of who issues, DER. */
  readonly issuer: Uint8Array;
  readonly authorityKeyId: Uint8Array;
  /** Of the list: goes up with every one. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly revoked: readonly Revoked[];
}

/** @returns CertificateList, DER */
export async function signRevocationList(
  signer: Signer,
  algorithm: CertificateAlgorithm,
  fields: ListFields,
): Promise<Uint8Array> {
  const revokedCertificates = fields.revoked.map(({ serial, at, reason }) => {
    // A reason that says nothing is left out (RFC 5280, 5.3.1).
    const code = encodeSchema(new CRLReason(REASONS[reason]));
    const crlEntryExtensions = [extension(EXTENSION.reasonCode, false, code)];
    return new RevokedCertificate({
      userCertificate: integerBuffer(fromHex(serial)),
      revocationDate: new Time(secondOf(at)),
      ...(reason !== "unspecified" && { crlEntryExtensions }),
    });
  });
  const body = new TBSCertList({
    version: Version.v2,
    signature: algorithmOf(algorithm).schema,
    issuer: nameOf(fields.issuer),
    thisUpdate: new Time(secondOf(fields.thisUpdate)),
    nextUpdate: new Time(secondOf(fields.nextUpdate)),
    // An empty list is left out (RFC 5280, 5.1.2.6).
    ...(revokedCertificates.length > 0 && { revokedCertificates }),
    crlExtensions: [
      extension(EXTENSION.authorityKeyIdentifier, false, authorityKeyIdentifier(fields.authorityKeyId)),
      extension(EXTENSION.crlNumber, false, encodeSchema(new CRLNumber(fields.number))),
    ],
  });
  return signed(signer, algorithm, body, (signatureAlgorithm, signature) => {
    return new CertificateList({ tbsCertList: body, signatureAlgorithm, signature });
  });
}
