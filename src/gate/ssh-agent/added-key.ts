/** What `ssh-add` sends: a private key, or a certificate with one, and the constraints it comes under. */
import { concat } from "../../bytes/bytes.ts";
import type { Reader } from "../../bytes/reader.ts";
import { readSshString, readSshText, sshString, sshStrings, sshU32 } from "../../bytes/ssh.ts";
import { ThornkeyError } from "../../errors.ts";
import { readDestinations } from "./destinations.ts";
import { CONSTRAINT, EXTENSION } from "./messages.ts";

export interface AddedKey {
  /** In OpenSSH's form (PROTOCOL.key), for the vault to read; secret. undefined when it is a certificate. */
  readonly material: Uint8Array | undefined;
  readonly certificate: Uint8Array | undefined;
  readonly comment: string;
  readonly constraints: Constraints;
}

export interface Constraints {
  /** Seconds. */
  readonly lifetime?: number;
  readonly confirm?: boolean;
  /** As they came, readable. */
  readonly destinations?: Uint8Array;
}

/** How many fields follow the type of a key (draft-ietf-sshm-ssh-agent, 4.2), and follow its certificate. */
const FIELDS: { readonly [name: string]: { readonly key: number; readonly certificate: number } } = {
  "ssh-ed25519": { key: 2, certificate: 2 },
  "ssh-rsa": { key: 6, certificate: 4 },
  "ecdsa-sha2-nistp256": { key: 3, certificate: 1 },
  "ecdsa-sha2-nistp384": { key: 3, certificate: 1 },
  "ecdsa-sha2-nistp521": { key: 3, certificate: 1 },
};
const CERTIFICATE = "-cert-v01@openssh.com";
const MAGIC = new TextEncoder().encode("openssh-key-v1\0");

/**
 * @param constrained whether constraints follow
 * @throws OutOfBytes, ThornkeyError `NOT_SUPPORTED` for keys and constraints that are not known, `MALFORMED`
 */
export function readAddedKey(reader: Reader, constrained: boolean): AddedKey {
  const start = reader.position;
  const name = readSshText(reader);
  const certified = name.endsWith(CERTIFICATE);
  const fields = FIELDS[certified ? name.slice(0, -CERTIFICATE.length) : name];
  if (fields === undefined) throw new ThornkeyError("NOT_SUPPORTED", "a key of a type the vault does not have");
  const certificate = certified ? readSshString(reader).slice() : undefined;
  for (let left = certified ? fields.certificate : fields.key; left > 0; left--) readSshString(reader);
  const key = reader.bytes.subarray(start, reader.position);
  const comment = readSshText(reader);
  const constraints = constrained ? readConstraints(reader) : {};
  if (reader.remaining > 0) throw new ThornkeyError("MALFORMED", "bytes after a key");
  return { material: certified ? undefined : inOpenSshForm(key), certificate, comment, constraints };
}

function inOpenSshForm(key: Uint8Array): Uint8Array {
  const length = 4 + 4 + key.length + 4;
  const padding = Uint8Array.from({ length: (8 - (length % 8)) % 8 }, (_, index) => index + 1);
  const section = concat(sshU32(0), sshU32(0), key, sshString(""), padding);
  const material = concat(MAGIC, sshStrings("none", "none", ""), sshU32(1), sshString(""), sshString(section));
  section.fill(0);
  return material;
}

function readConstraints(reader: Reader): Constraints {
  let constraints: Constraints = {};
  while (reader.remaining > 0) {
    const kind = reader.u8();
    if (kind === CONSTRAINT.lifetime) constraints = { ...constraints, lifetime: reader.u32be() };
    else if (kind === CONSTRAINT.confirm) constraints = { ...constraints, confirm: true };
    else if (kind === CONSTRAINT.extension && readSshText(reader) === EXTENSION.restrictDestination) {
      const destinations = readSshString(reader).slice();
      readDestinations(destinations);
      constraints = { ...constraints, destinations };
    } else throw new ThornkeyError("NOT_SUPPORTED", "a constraint that this agent does not know");
  }
  return constraints;
}

/** @returns a name for a key with such a comment: `ann@laptop`, without what no name has */
export function nameFor(comment: string): string {
  const last = comment.slice(comment.lastIndexOf("/") + 1);
  const name = last.replaceAll(/[^A-Za-z0-9_.@-]+/g, "-").slice(0, 60);
  return name === "" || name === "-" ? "ssh" : name;
}
