/**
 * Public keys and signatures as SSH writes them: RFC 4253 (6.6), RFC 5656 (3.1), RFC 8332, RFC 8709.
 */
import { concat } from "../bytes/bytes.ts";
import { Reader } from "../bytes/reader.ts";
import { readSshString, readSshText, sshNumber, sshString, sshStrings } from "../bytes/ssh.ts";
import { ThornkeyError } from "../errors.ts";
import type { Digest, KeyType } from "./key-types.ts";
import { pointOf, rsaPublicOf } from "./public-keys.ts";

interface SshForm {
  /** Name of the key's type, and of its signatures where nothing else is said. */
  readonly name: string;
  /** RFC 5656, 10.1. */
  readonly curve?: string;
  /** What the message is hashed with; nothing for Ed25519, which does it itself. */
  readonly digest?: Digest;
}

const FORMS: { readonly [Type in KeyType]?: SshForm } = {
  p256: { name: "ecdsa-sha2-nistp256", curve: "nistp256", digest: "sha256" },
  p384: { name: "ecdsa-sha2-nistp384", curve: "nistp384", digest: "sha384" },
  p521: { name: "ecdsa-sha2-nistp521", curve: "nistp521", digest: "sha512" },
  rsa2048: { name: "ssh-rsa", digest: "sha512" },
  rsa3072: { name: "ssh-rsa", digest: "sha512" },
  rsa4096: { name: "ssh-rsa", digest: "sha512" },
  ed25519: { name: "ssh-ed25519" },
};

/** The signatures of RSA keys (RFC 8332). */
export const SSH_RSA_SIGNATURES = {
  sha1: "ssh-rsa",
  sha256: "rsa-sha2-256",
  sha512: "rsa-sha2-512",
} as const satisfies { [Name in Digest]?: string };
export type SshRsaDigest = keyof typeof SSH_RSA_SIGNATURES;

/** @returns how SSH knows keys of the type; undefined when it does not */
export function sshFormOf(type: KeyType): SshForm | undefined {
  return FORMS[type];
}

/**
 * @param spki SubjectPublicKeyInfo in the one form of `public-keys.ts`
 * @returns the key's blob. @throws ThornkeyError `NOT_SUPPORTED` for a type SSH does not know, `MALFORMED`
 */
export function sshBlobOf(type: KeyType, spki: Uint8Array): Uint8Array {
  const form = FORMS[type];
  if (form === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", `SSH has no keys of the type ${type}`, {
      hint: "SSH knows p256, p384, p521, rsa and ed25519",
    });
  }
  const rsa = rsaPublicOf(type, spki);
  if (rsa !== undefined) return sshStrings(form.name, sshNumber(rsa.e), sshNumber(rsa.n));
  const point = pointOf(type, spki);
  if (point === undefined) throw new ThornkeyError("MALFORMED", `not a public key of type ${type}`);
  return form.curve === undefined
    ? sshStrings(form.name, point)
    : sshStrings(form.name, form.curve, concat(Uint8Array.of(4), point));
}

/**
 * @param signature as the vault answers: r then s, or what RFC 8017 and 8032 say
 * @param digest of RSA
 * @returns the signature's blob
 */
export function sshSignatureOf(type: KeyType, signature: Uint8Array, digest: SshRsaDigest): Uint8Array {
  const form = FORMS[type];
  if (form === undefined) throw new ThornkeyError("NOT_SUPPORTED", `SSH has no keys of the type ${type}`);
  if (form.name === "ssh-rsa") return sshStrings(SSH_RSA_SIGNATURES[digest], signature);
  if (form.curve === undefined) return sshStrings(form.name, signature);
  const half = signature.length / 2;
  return sshStrings(
    form.name,
    concat(sshString(sshNumber(signature.subarray(0, half))), sshString(sshNumber(signature.subarray(half)))),
  );
}

/** @returns the type a blob begins with. @throws OutOfBytes */
export function sshNameIn(blob: Uint8Array): string {
  return readSshText(new Reader(blob));
}

const CERTIFICATE = "-cert-v01@openssh.com";

/**
 * Takes the key out of a certificate (OpenSSH, PROTOCOL.certkeys).
 *
 * @returns the blob of the key that is certified; the blob itself when it is no certificate
 * @throws OutOfBytes when it is cut off; ThornkeyError `MALFORMED` for a certificate of an unknown kind
 */
export function sshKeyIn(blob: Uint8Array): Uint8Array {
  const reader = new Reader(blob);
  const name = readSshText(reader);
  if (!name.endsWith(CERTIFICATE)) return blob;
  const plain = name.slice(0, -CERTIFICATE.length);
  const fields = { "ssh-rsa": 2, "ssh-ed25519": 1 }[plain] ?? (plain.startsWith("ecdsa-sha2-nistp") ? 2 : undefined);
  if (fields === undefined) throw new ThornkeyError("MALFORMED", "a certificate of an unknown kind");
  readSshString(reader); // nonce
  return sshStrings(plain, ...Array.from({ length: fields }, () => readSshString(reader)));
}

export function isSshCertificate(blob: Uint8Array): boolean {
  return sshNameIn(blob).endsWith(CERTIFICATE);
}
