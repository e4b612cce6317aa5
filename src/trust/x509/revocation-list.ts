/** Lists of revoked certificates (RFC 5280, 5: CRL version 2). */
import { encodeDer, integerOf } from "../../bytes/asn1.ts";
import { fromHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Signer } from "../signer.ts";
import { algorithmOf, type CertificateAlgorithm } from "./algorithms.ts";
import { signed } from "./certificate.ts";
import { explicit, implicit, sequence, smallInteger, TYPE } from "./der.ts";
import { EXTENSION, extension } from "./extensions.ts";
import { timeTree } from "./validity.ts";

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

const VERSION_2 = 1;

/** @returns CertificateList, DER */
export async function signRevocationList(
  signer: Signer,
  algorithm: CertificateAlgorithm,
  fields: ListFields,
): Promise<Uint8Array> {
  const entries = fields.revoked.map(({ serial, at, reason }) => {
    // A reason that says nothing is left out (RFC 5280, 5.3.1).
    const code = encodeDer({ tag: TYPE.enumerated, content: [Uint8Array.of(REASONS[reason])] });
    const extensions = reason === "unspecified" ? [] : [sequence(extension(EXTENSION.reasonCode, false, code))];
    return sequence(integerOf(fromHex(serial)), timeTree(at), ...extensions);
  });
  const keyId = encodeDer(sequence(implicit(0, fields.authorityKeyId)));
  const body = sequence(
    smallInteger(VERSION_2),
    algorithmOf(algorithm).identifier,
    fields.issuer,
    timeTree(fields.thisUpdate),
    timeTree(fields.nextUpdate),
    // An empty list is left out (RFC 5280, 5.1.2.6).
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    explicit(
      0,
      sequence(
        extension(EXTENSION.authorityKeyIdentifier, false, keyId),
        extension(EXTENSION.crlNumber, false, encodeDer(smallInteger(fields.number))),
      ),
    ),
  );
  return signed(signer, algorithm, encodeDer(body));
}
