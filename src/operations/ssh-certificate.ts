/** Certificates of OpenSSH (PROTOCOL.certkeys): read, and written up to the signature. */
import { concat } from "../bytes/bytes.ts";
import { OutOfBytes, Reader } from "../bytes/reader.ts";
import { readSshString, readSshText, sshString, sshStrings, sshU32 } from "../bytes/ssh.ts";
import { ThornkeyError } from "../errors.ts";
import { sshKeyIn, sshNameIn } from "./ssh-keys.ts";

export const SSH_CERTIFICATE_KINDS = { user: 1, host: 2 } as const;
export type SshCertificateKind = keyof typeof SSH_CERTIFICATE_KINDS;

export interface SshCertificateFields {
  /** 0 to 2^64-1 */
  readonly serial: bigint;
  readonly kind: SshCertificateKind;
  readonly keyId: string;
  /** User names or host names; nothing stands for all. */
  readonly principals: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  /** Seconds since 1970; 2^64-1 for ever. */
  readonly validBefore: bigint;
  /** Name and value, as sshd knows them: `force-command`, `source-address`. */
  readonly criticalOptions: readonly (readonly [name: string, value: string])[];
  /** `permit-pty` and the like; without a value. */
  readonly extensions: readonly string[];
}

export interface SshCertificate extends SshCertificateFields {
  /** Blob of the key that is certified. */
  readonly key: Uint8Array;
  /** Blob of the key that signed. */
  readonly authority: Uint8Array;
  /** What is signed. */
  readonly signed: Uint8Array;
  /** With its algorithm, as SSH writes it. */
  readonly signature: Uint8Array;
}

/**
 * Does not check the signature.
 *
 * @throws ThornkeyError `MALFORMED`
 */
export function readSshCertificate(blob: Uint8Array): SshCertificate {
  try {
    const key = sshKeyIn(blob);
    if (key === blob) throw new ThornkeyError("MALFORMED", "no certificate of OpenSSH");
    const reader = new Reader(blob);
    const fields = new Reader(key);
    readSshString(reader); // name
    readSshString(reader); // nonce
    readSshString(fields);
    while (fields.remaining > 0) {
      readSshString(fields);
      readSshString(reader);
    }
    const serial = readU64(reader);
    const number = reader.u32be();
    const kind = number === 1 ? "user" : number === 2 ? "host" : undefined;
    if (kind === undefined) throw new ThornkeyError("MALFORMED", "a certificate neither of a user nor of a host");
    const keyId = readSshText(reader);
    const principals = texts(readSshString(reader));
    const [validAfter, validBefore] = [readU64(reader), readU64(reader)];
    const criticalOptions = pairs(readSshString(reader));
    const extensions = pairs(readSshString(reader)).map(([name]) => name);
    readSshString(reader); // reserved
    const authority = readSshString(reader);
    const signed = blob.subarray(0, reader.position);
    const signature = readSshString(reader);
    if (reader.remaining > 0) throw new ThornkeyError("MALFORMED", "bytes after a certificate");
    return {
      ...{ serial, kind, keyId, principals, validAfter, validBefore, criticalOptions, extensions },
      ...{ key, authority, signed, signature },
    };
  } catch (cause) {
    if (!(cause instanceof OutOfBytes)) throw cause;
    throw new ThornkeyError("MALFORMED", "a certificate of OpenSSH that is cut off", { cause });
  }
}

/**
 * @param key blob of the key that is certified
 * @param authority blob of the key that will sign
 * @param nonce 16 to 32 random bytes
 * @returns what is to be signed; the signature's blob, as a `string`, makes it whole
 */
export function sshCertificateToSign(
  key: Uint8Array,
  authority: Uint8Array,
  nonce: Uint8Array,
  fields: SshCertificateFields,
): Uint8Array {
  const name = sshNameIn(key);
  const ofKey = key.subarray(4 + name.length);
  // sshd looks for names in order, and refuses what is not sorted.
  const sorted = <Item extends readonly [string, ...unknown[]]>(items: readonly Item[]) =>
    [...items].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const options = sorted(fields.criticalOptions).map(([option, value]) => sshStrings(option, sshString(value)));
  const extensions = sorted(fields.extensions.map((extension) => [extension] as const)).map(([extension]) =>
    sshStrings(extension, new Uint8Array(0)),
  );
  return concat(
    sshStrings(`${name}-cert-v01@openssh.com`, nonce),
    ofKey,
    u64(fields.serial),
    sshU32(SSH_CERTIFICATE_KINDS[fields.kind]),
    sshStrings(fields.keyId, sshStrings(...fields.principals)),
    u64(fields.validAfter),
    u64(fields.validBefore),
    sshStrings(concat(...options), concat(...extensions), new Uint8Array(0), authority),
  );
}

function readU64(reader: Reader): bigint {
  return (BigInt(reader.u32be()) << 32n) | BigInt(reader.u32be());
}

function u64(value: bigint): Uint8Array {
  return concat(sshU32(Number(value >> 32n)), sshU32(Number(value & 0xffffffffn)));
}

function texts(list: Uint8Array): string[] {
  const reader = new Reader(list);
  const found: string[] = [];
  while (reader.remaining > 0) found.push(readSshText(reader));
  return found;
}

/** Name and value; the value is a `string` in a `string`, or nothing. */
function pairs(list: Uint8Array): [string, string][] {
  const reader = new Reader(list);
  const found: [string, string][] = [];
  while (reader.remaining > 0) {
    const name = readSshText(reader);
    const value = readSshString(reader);
    found.push([name, value.length === 0 ? "" : readSshText(new Reader(value))]);
  }
  return found;
}
