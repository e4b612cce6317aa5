/** A small certificate authority whose key is in the vault: made, and asked to certify. */
import { randomBytes } from "node:crypto";
import { toHex } from "../../bytes/bytes.ts";
import type { KeyInfo, Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { attachChain, certificateOf } from "../attached.ts";
import { publicKeyIn } from "../signatures.ts";
import { type Signer, signerOf } from "../signer.ts";
import { type CertificateAlgorithm, certificateAlgorithmOf } from "../x509/algorithms.ts";
import type { AlternativeName } from "../x509/alternative-names.ts";
import { type Certificate, type CertificateFields, readCertificate, signCertificate } from "../x509/certificate.ts";
import { type ExtensionWishes, extensionsFor, keyIdOf } from "../x509/extensions.ts";
import { encodeName } from "../x509/names.ts";
import { type CertificateRequest, mustNameSomebody } from "../x509/request.ts";
import type { Usage } from "../x509/usages.ts";
import { DAY, type Validity } from "../x509/validity.ts";
import { ledgerOf, nextListNumber, recordIssued } from "./ledger.ts";
import { daysOf, type ProfileName, profileOf } from "./profiles.ts";

/** So that a device whose clock is a little behind takes it. */
const BACKDATED = 5 * 60_000;
const ROOT_PATH_LENGTH = 1;

export interface Authority {
  readonly key: KeyInfo;
  readonly signer: Signer;
  readonly certificate: Certificate;
  /** From its own to the nearest to the root. */
  readonly chain: readonly Certificate[];
}

/** @throws ThornkeyError `FILE_NOT_FOUND`; `USAGE` when the key's certificate is not that of an authority */
export async function authorityOf(vault: Thornkey, name: string): Promise<Authority> {
  const key = await vault.keys.show(name);
  const { certificate, chain } = await certificateOf(vault, key);
  const signer = await signerOf(vault, key.id);
  if (certificate.authority === undefined || certificate.keyUsages?.includes("keyCertSign") === false) {
    throw new ThornkeyError("USAGE", `${name} is no authority`, {
      hint: `thornkey cert ca ${name} --subject CN=… makes it one`,
    });
  }
  return { key, signer, certificate, chain: [certificate, ...chain.map(readCertificate)] };
}

export interface AuthorityOptions {
  readonly subject: string;
  readonly days?: number | undefined;
  /** How many authorities may stand below; a root's is 1 without it, an intermediate's one less than its parent's. */
  readonly pathLength?: number | undefined;
  /** The authority above; without it the key certifies itself. */
  readonly parent?: string | undefined;
  readonly algorithm?: CertificateAlgorithm | undefined;
  readonly crlUrl?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

/**
 * Makes a key an authority; its certificate is kept with it.
 *
 * @returns its chain, its own first
 * @throws ThornkeyError `USAGE` when it is one already, or the parent may have none below it
 */
export async function createAuthority(
  vault: Thornkey,
  name: string,
  options: AuthorityOptions,
): Promise<readonly Certificate[]> {
  const signer = await signerOf(vault, name);
  const key = await vault.keys.show(signer.id);
  if (await isAuthority(vault, key.id)) {
    throw new ThornkeyError("USAGE", `${name} is an authority already`, {
      hint: `thornkey cert renew ${name} gives it a new certificate of the same name`,
    });
  }
  const { parent, days, pathLength, now, algorithm, crlUrl } = options;
  const subject = encodeName(options.subject);
  mustNameSomebody(subject, []);
  const holder = { subject, publicKey: signer.publicKey, names: [] };
  const chain =
    parent === undefined
      ? [
          await certifySelf(signer, holder, "root", {
            days,
            now,
            algorithm,
            pathLength: pathLength ?? ROOT_PATH_LENGTH,
          }),
        ]
      : await issue(vault, parent, holder, { profile: "intermediate", days, pathLength, now, algorithm, crlUrl });
  await attachChain(vault, key, chain);
  await nextListNumber(vault, key, now);
  return chain;
}

async function isAuthority(vault: Thornkey, keyId: string): Promise<boolean> {
  try {
    await authorityOf(vault, keyId);
    return true;
  } catch (error) {
    // It has no certificate, or not that of an authority.
    if (error instanceof ThornkeyError && (error.code === "FILE_NOT_FOUND" || error.code === "USAGE")) return false;
    throw error;
  }
}

export type Holder = Pick<CertificateRequest, "subject" | "publicKey" | "names">;

export interface IssueOptions {
  readonly profile: ProfileName;
  readonly days?: number | undefined;
  readonly pathLength?: number | undefined;
  /** Instead of those the request has. */
  readonly names?: readonly AlternativeName[] | undefined;
  readonly algorithm?: CertificateAlgorithm | undefined;
  readonly crlUrl?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

/**
 * Certifies a key. What a request asks for besides its subject and its alternative names does not count: the profile says
 * what the key is for.
 *
 * @param holder from `readRequest`, which has checked the signature
 * @returns the chain, the new certificate first
 * @throws ThornkeyError `USAGE` for what the profile or the authority does not allow; what the vault says
 */
export async function issue(
  vault: Thornkey,
  authorityName: string,
  holder: Holder,
  options: IssueOptions,
): Promise<readonly Certificate[]> {
  const { profile, now = Date.now() } = options;
  if (profileOf(profile).selfOnly) {
    throw new ThornkeyError("USAGE", `a ${profile} certifies itself`, {
      hint: "thornkey cert ca NAME --subject CN=… makes one; --profile intermediate is for authorities below this one",
    });
  }
  mustBeStrong(holder.publicKey);
  const authority = await authorityOf(vault, authorityName);
  const names = options.names ?? (profileOf(profile).takesNames ? holder.names : []);
  const wishes = wishesFor(holder, profile, names, pathLengthBelow(authority, profile, options.pathLength));
  const extensions = extensionsFor({
    ...wishes,
    authorityKeyId: keyIdFor(authority.certificate),
    crlUrl: options.crlUrl,
  });
  const validity = validityBelow(authority.certificate, daysOf(profile, options.days) * DAY, now);
  const { subject, publicKey } = holder;
  return sealed(vault, authority, { subject, publicKey, extensions, ...validity }, options.algorithm);
}

const LEAST_RSA_BITS = 2048;
const CURVES: readonly (string | undefined)[] = ["prime256v1", "secp384r1", "secp521r1", "secp256k1"];

/** @throws ThornkeyError `USAGE` for a key of a kind or a size that is not certified */
function mustBeStrong(publicKey: Uint8Array): void {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = publicKeyIn(publicKey);
  const strong =
    kind === "ed25519" ||
    (kind === "rsa" && (details?.modulusLength ?? 0) >= LEAST_RSA_BITS) ||
    (kind === "ec" && CURVES.includes(details?.namedCurve));
  if (strong) return;
  throw new ThornkeyError("USAGE", "a key of a kind or a size that is not certified here", {
    hint: "p256, p384, p521, secp256k1, ed25519 and RSA of 2048 bits or more are",
  });
}

/** Signs, and writes it into the ledger before it is given out. @returns the chain */
export async function sealed(
  vault: Thornkey,
  authority: Authority,
  fields: Omit<CertificateFields, "serial" | "issuer">,
  algorithm: CertificateAlgorithm | undefined,
): Promise<readonly Certificate[]> {
  const { key, signer, certificate, chain } = authority;
  const used = new Set((await ledgerOf(vault, key)).map((entry) => entry.serial));
  let serial = newSerial();
  while (used.has(toHex(serial))) serial = newSerial();
  const whole = { ...fields, serial, issuer: certificate.subject };
  const der = await signCertificate(signer, certificateAlgorithmOf(signer.type, algorithm), whole);
  await recordIssued(vault, key, "issued", toHex(serial), der);
  return [readCertificate(der), ...chain];
}

/** @returns 20 bytes, positive, without a leading zero byte (RFC 5280, 4.1.2.2): 158 bits are random */
export function newSerial(): Uint8Array {
  const serial = new Uint8Array(randomBytes(20));
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

/** @param length milliseconds. @returns within the issuer's own. @throws ThornkeyError `USAGE` outside of the issuer's */
export function validityBelow(issuer: Validity, length: number, now: number): Validity {
  if (now < issuer.notBefore || now >= issuer.notAfter) {
    const when = `${new Date(issuer.notBefore).toISOString()} to ${new Date(issuer.notAfter).toISOString()}`;
    throw new ThornkeyError("USAGE", `the authority's own certificate is valid from ${when}, and not now`, {
      hint: "is the clock right? thornkey cert renew gives an authority a new certificate",
    });
  }
  const { notBefore, notAfter } = validityFrom(now, length);
  return { notBefore: Math.max(notBefore, issuer.notBefore), notAfter: Math.min(notAfter, issuer.notAfter) };
}

export function validityFrom(now: number, length: number): Validity {
  const second = Math.floor(now / 1000) * 1000;
  return { notBefore: second - BACKDATED, notAfter: second + length };
}

/** @throws ThornkeyError `USAGE` */
function pathLengthBelow(authority: Authority, profile: ProfileName, wanted: number | undefined): number | undefined {
  if (!profileOf(profile).authority) return undefined;
  const { pathLength } = authority.certificate.authority ?? {};
  if (pathLength === undefined) return wanted ?? 0;
  if (pathLength > 0 && (wanted ?? 0) < pathLength) return wanted ?? pathLength - 1;
  throw new ThornkeyError("USAGE", `${authority.key.name} may have ${pathLength} authorities below it`, {
    hint: pathLength > 0 ? `say --path-length ${pathLength - 1}, or less` : "ask the authority above it",
  });
}

function wishesFor(
  { subject, publicKey }: Holder,
  profileName: ProfileName,
  names: readonly AlternativeName[],
  pathLength?: number,
): ExtensionWishes {
  const profile = profileOf(profileName);
  if (profile.needsNames && names.length === 0) {
    throw new ThornkeyError("USAGE", `a certificate for a ${profileName} needs an alternative name`, {
      hint: "programs do not look at the common name any more: --san dns:NAME",
    });
  }
  const rsa = publicKeyIn(publicKey).asymmetricKeyType === "rsa";
  return {
    authority: profile.authority ? { pathLength } : false,
    usages: [...profile.usages, ...(rsa ? profile.rsaUsages : [])],
    names,
    namesAreSubject: mustNameSomebody(subject, names),
    subjectKeyId: keyIdOf(publicKey),
  };
}

/** What others call the authority's key by: what its own certificate says. */
export function keyIdFor({ subjectKeyId, publicKey }: Certificate): Uint8Array {
  return subjectKeyId ?? keyIdOf(publicKey);
}

export interface SelfOptions {
  readonly days?: number | undefined;
  readonly pathLength?: number | undefined;
  /** Instead of the profile's. */
  readonly usages?: readonly Usage[] | undefined;
  readonly algorithm?: CertificateAlgorithm | undefined;
  readonly now?: number | undefined;
}

/** @returns a certificate that the key has signed itself */
export async function certifySelf(
  signer: Signer,
  holder: Holder,
  profile: ProfileName,
  { days, pathLength, usages, algorithm, now = Date.now() }: SelfOptions,
): Promise<Certificate> {
  const { subject, publicKey, names } = holder;
  const wishes = wishesFor(holder, profile, names, pathLength);
  const der = await signCertificate(signer, certificateAlgorithmOf(signer.type, algorithm), {
    ...{ serial: newSerial(), issuer: subject, subject, publicKey },
    ...validityFrom(now, daysOf(profile, days) * DAY),
    extensions: extensionsFor({ ...wishes, ...(usages && { usages }) }),
  });
  return readCertificate(der);
}
