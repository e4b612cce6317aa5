/** Certificates of the vault's own keys: certified by themselves, certified anew. */
import type { Extension } from "@peculiar/asn1-x509";
import { equal } from "../../bytes/bytes.ts";
import type { KeyInfo, Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { allAttached, attachChain, certificateOf } from "../attached.ts";
import { signerOf } from "../signer.ts";
import { type CertificateAlgorithm, certificateAlgorithmOf } from "../x509/algorithms.ts";
import type { AlternativeName } from "../x509/alternative-names.ts";
import { type Certificate, isIssuedBy, isSelfSigned, readCertificate, signCertificate } from "../x509/certificate.ts";
import { authorityKeyIdentifier, EXTENSION, extension } from "../x509/extensions.ts";
import { encodeName } from "../x509/names.ts";
import type { Usage } from "../x509/usages.ts";
import { DAY } from "../x509/validity.ts";
import { authorityOf, certifySelf, keyIdFor, newSerial, sealed, validityBelow, validityFrom } from "./authority.ts";
import { ledgerOf } from "./ledger.ts";
import { daysOf, type ProfileName } from "./profiles.ts";

export interface SelfSignedOptions {
  readonly subject: string;
  readonly names?: readonly AlternativeName[] | undefined;
  /** Instead of the profile's. */
  readonly usages?: readonly Usage[] | undefined;
  readonly days?: number | undefined;
  readonly algorithm?: CertificateAlgorithm | undefined;
  /** Of the object; the key's own without it. */
  readonly name?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

/** Has a key certify itself; the certificate is kept with it. */
export async function createSelfSigned(
  vault: Thornkey,
  keyName: string,
  { subject, names = [], name, ...options }: SelfSignedOptions,
): Promise<Certificate> {
  const signer = await signerOf(vault, keyName);
  const holder = { subject: encodeName(subject), publicKey: signer.publicKey, names };
  const certificate = await certifySelf(signer, holder, "self", options);
  await attachChain(vault, await vault.keys.show(signer.id), [certificate], { name });
  return certificate;
}

export interface RenewOptions {
  /** The key of who issues it; without it the vault looks for the issuer among its own. */
  readonly authority?: string | undefined;
  /** As long as the one before without it. */
  readonly days?: number | undefined;
  /** Name or id of the object, when the key has several certificates. */
  readonly which?: string | undefined;
  readonly algorithm?: CertificateAlgorithm | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

/**
 * Certifies a key anew: the same subject, key and extensions, a new serial and validity. It takes the place of the one
 * before in one change of the vault.
 *
 * @returns the chain, the new certificate first
 * @throws ThornkeyError `USAGE` when the issuer is none of the vault's, or the certificate is revoked
 */
export async function renew(
  vault: Thornkey,
  name: string,
  options: RenewOptions = {},
): Promise<readonly Certificate[]> {
  const { which, now = Date.now() } = options;
  const key = await vault.keys.show(name);
  const attached = await certificateOf(vault, key, which);
  const before = attached.certificate;
  if (key.publicKey === undefined || !equal(before.publicKey, key.publicKey)) {
    throw new ThornkeyError("USAGE", `the certificate that is kept with ${name} is not that of its key`);
  }
  const chain = isSelfSigned(before)
    ? [await renewSelf(vault, key, before, options, now)]
    : await renewIssued(vault, before, options, now);
  await attachChain(vault, key, chain, { name: attached.name });
  return chain;
}

async function renewSelf(
  vault: Thornkey,
  key: KeyInfo,
  before: Certificate,
  { days, algorithm }: RenewOptions,
  now: number,
): Promise<Certificate> {
  const signer = await signerOf(vault, key.id);
  const der = await signCertificate(signer, certificateAlgorithmOf(signer.type, algorithm), {
    ...{ serial: newSerial(), issuer: before.subject, subject: before.subject, publicKey: before.publicKey },
    ...validityFrom(now, lengthOf(before, days)),
    extensions: extensionsOf(before),
  });
  return readCertificate(der);
}

async function renewIssued(
  vault: Thornkey,
  before: Certificate,
  { authority: wanted, days, algorithm }: RenewOptions,
  now: number,
): Promise<readonly Certificate[]> {
  const authority = await authorityOf(vault, wanted ?? (await issuerOf(vault, before)));
  if (!equal(authority.certificate.subject, before.issuer)) {
    throw new ThornkeyError("USAGE", `${authority.key.name} did not issue the certificate`, {
      hint: "leave --ca out to have the issuer looked for",
    });
  }
  const entries = await ledgerOf(vault, authority.key);
  if (entries.some(({ kind, serial }) => kind === "revoked" && serial === before.serial)) {
    throw new ThornkeyError("USAGE", `the certificate ${before.serial} is revoked`, {
      hint: "thornkey cert issue makes a new one, if the key is still to be trusted",
    });
  }
  const fields = {
    ...{ subject: before.subject, publicKey: before.publicKey },
    ...validityBelow(authority.certificate, lengthOf(before, days), now),
    extensions: extensionsOf(before, keyIdFor(authority.certificate)),
  };
  return sealed(vault, authority, fields, algorithm);
}

/** @returns id of the key. @throws ThornkeyError `USAGE` */
async function issuerOf(vault: Thornkey, certificate: Certificate): Promise<string> {
  for (const { kind, key, value } of await allAttached(vault)) {
    if (kind !== "x509") continue;
    const candidate = readCertificate(value);
    if (candidate.authority !== undefined && isIssuedBy(certificate, candidate)) return key;
  }
  throw new ThornkeyError("USAGE", "the certificate was issued by none of this vault's authorities", {
    hint: "make a request with thornkey csr, and keep the answer with thornkey cert attach",
  });
}

/** @returns milliseconds. @throws ThornkeyError `USAGE` for more days than the certificate's profile has */
function lengthOf(before: Certificate, days: number | undefined): number {
  // The start lies a little in the past: it is not to add up.
  if (days === undefined) return Math.max(1, Math.floor((before.notAfter - before.notBefore) / DAY)) * DAY;
  return daysOf(profileFitting(before), days) * DAY;
}

function profileFitting(certificate: Certificate): ProfileName {
  if (certificate.authority !== undefined) return isSelfSigned(certificate) ? "root" : "intermediate";
  if (isSelfSigned(certificate)) return "self";
  return certificate.purposes?.includes("serverAuth") ? "server" : "device";
}

/** @param authorityKeyId takes the place of the one that is there */
function extensionsOf({ extensions }: Certificate, authorityKeyId?: Uint8Array): Extension[] {
  return [...extensions].map(([dotted, { critical, value }]) => {
    const replaced = dotted === EXTENSION.authorityKeyIdentifier && authorityKeyId !== undefined;
    return extension(dotted, critical, replaced ? authorityKeyIdentifier(authorityKeyId) : value);
  });
}
