/** The list of what an authority has revoked, for others to look into. */
import type { Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { type CertificateAlgorithm, certificateAlgorithmOf } from "../x509/algorithms.ts";
import { signRevocationList } from "../x509/revocation-list.ts";
import { DAY } from "../x509/validity.ts";
import { authorityOf, keyIdFor } from "./authority.ts";
import { nextListNumber, revokedBy } from "./ledger.ts";

export interface ListOptions {
  /** Days until the next list is due; 7 without it. */
  readonly days?: number | undefined;
  readonly algorithm?: CertificateAlgorithm | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

const LIST_DAYS = 7;

/**
 * The list of what the authority has revoked.
 *
 * @returns CertificateList, DER
 * @throws ThornkeyError `USAGE` when the authority's certificate does not let it sign lists
 */
export async function createRevocationList(
  vault: Thornkey,
  authorityName: string,
  { days = LIST_DAYS, algorithm, now = Date.now() }: ListOptions = {},
): Promise<Uint8Array> {
  const { key, signer, certificate } = await authorityOf(vault, authorityName);
  if (certificate.keyUsages?.includes("cRLSign") === false) {
    throw new ThornkeyError("USAGE", `the certificate of ${key.name} does not let it sign lists of revoked ones`);
  }
  // The number first: what is revoked after that is in the next list.
  const number = await nextListNumber(vault, key, now);
  const second = Math.floor(now / 1000) * 1000;
  return signRevocationList(signer, certificateAlgorithmOf(signer.type, algorithm), {
    ...{ issuer: certificate.subject, authorityKeyId: keyIdFor(certificate), number },
    ...{ thisUpdate: second, nextUpdate: second + days * DAY, revoked: await revokedBy(vault, key) },
  });
}
