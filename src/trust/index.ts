/**
 * Documents built on keys: requests, certificates, tokens. They are built here; the signature is the vault's.
 *
 *     await using vault = await connect();
 *     const signer = await signerOf(vault, "tls");
 *     const request = await createRequest(signer, { subject: "CN=pump 7,O=Acme,C=DE", names: ["dns:pump7.local"] });
 *     console.log(pem("CERTIFICATE REQUEST", request));
 */
export { type Attached, type AttachOptions, allAttached, attach, attachedTo, certificateOf } from "./attached.ts";
export {
  type Authority,
  type AuthorityOptions,
  authorityOf,
  createAuthority,
  type Holder,
  type IssueOptions,
  issue,
} from "./authority/authority.ts";
export { type LedgerEntry, ledgerOf, revoke, revokedBy } from "./authority/ledger.ts";
export { createRevocationList, type ListOptions } from "./authority/list.ts";
export { createSelfSigned, type RenewOptions, renew, type SelfSignedOptions } from "./authority/own.ts";
export { PROFILE_NAMES, PROFILES, type ProfileName } from "./authority/profiles.ts";
export {
  FOR_EVER,
  issueSshCertificate,
  readSshPublicKey,
  type SshCertificateOptions,
  sshCertificateLine,
  USER_EXTENSIONS,
} from "./authority/ssh.ts";
export { secondsOf } from "./durations.ts";
export { type SignatureSpec, type Signer, signerOf } from "./signer.ts";
export * from "./tokens/index.ts";
export { CERTIFICATE_ALGORITHMS, type CertificateAlgorithm } from "./x509/algorithms.ts";
export { type AlternativeName, encodeAlternativeNames, readAlternativeNames } from "./x509/alternative-names.ts";
export { type Certificate, describeCertificate, isIssuedBy, readCertificate } from "./x509/certificate.ts";
export { encodeName, nameText } from "./x509/names.ts";
export { documentsIn, type PemLabel, pem } from "./x509/pem.ts";
export { type CertificateRequest, createRequest, type RequestOptions, readRequest } from "./x509/request.ts";
export { REVOCATION_REASONS, type RevocationReason, type Revoked } from "./x509/revocation-list.ts";
export { USAGES, type Usage } from "./x509/usages.ts";
