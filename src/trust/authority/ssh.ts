/** Certificates of OpenSSH (PROTOCOL.certkeys), signed by a key of the vault. */
import { randomBytes } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { OutOfBytes } from "../../bytes/reader.ts";
import { sshString } from "../../bytes/ssh.ts";
import type { Thornkey } from "../../client/index.ts";
import { ThornkeyError } from "../../errors.ts";
import { factsOf } from "../../operations/key-types.ts";
import { readSshCertificate, type SshCertificateKind, sshCertificateToSign } from "../../operations/ssh-certificate.ts";
import { isSshCertificate, sshBlobOf, sshFormOf, sshNameIn, sshSignatureOf } from "../../operations/ssh-keys.ts";
import { type Signer, signerOf } from "../signer.ts";
import { recordIssued } from "./ledger.ts";

/** What ssh-keygen gives users when nobody says (ssh-keygen(1), -O). */
export const USER_EXTENSIONS = [
  ...["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc"],
] as const;
const EXTENSIONS: readonly string[] = [...USER_EXTENSIONS, "no-touch-required"];
const OPTIONS: readonly string[] = ["force-command", "source-address"];

export const FOR_EVER = 2n ** 64n - 1n;
const BACKDATED_SECONDS = 300n;

export interface SshCertificateOptions {
  /** What the server's log says: text of one line. */
  readonly id: string;
  readonly kind?: SshCertificateKind | undefined;
  /** User names, or host names: at least one, for a certificate without is one for everybody. */
  readonly principals: readonly string[];
  /** Seconds from now on; for ever with {@link FOR_EVER}. */
  readonly seconds: number | typeof FOR_EVER;
  /** `force-command`, `source-address`. */
  readonly options?: readonly (readonly [name: string, value: string])[] | undefined;
  /** Of users; all that ssh-keygen gives without it. */
  readonly extensions?: readonly string[] | undefined;
  /** 63 random bits without it. */
  readonly serial?: bigint | undefined;
  /** Milliseconds since 1970. */
  readonly now?: number | undefined;
}

/**
 * Certifies a key for SSH, and writes it into the authority's ledger.
 *
 * @param authorityName a key of the vault; it needs no certificate of its own
 * @param key blob of the key that is certified
 * @returns the certificate's blob
 * @throws ThornkeyError `USAGE` for what sshd does not know; `NOT_SUPPORTED`; `MALFORMED`
 */
export async function issueSshCertificate(
  vault: Thornkey,
  authorityName: string,
  key: Uint8Array,
  options: SshCertificateOptions,
): Promise<Uint8Array> {
  const { id, kind = "user", principals, now = Date.now() } = options;
  mustMakeSense(key, options);
  const signer = await signerOf(vault, authorityName);
  const authority = sshBlobOf(signer.type, signer.publicKey);
  const seconds = BigInt(Math.floor(now / 1000));
  const serial = options.serial ?? randomBytes(8).readBigUInt64BE() >> 1n;
  const body = sshCertificateToSign(key, authority, new Uint8Array(randomBytes(32)), {
    ...{ serial, kind, keyId: id, principals },
    validAfter: seconds - BACKDATED_SECONDS,
    validBefore: options.seconds === FOR_EVER ? FOR_EVER : seconds + BigInt(options.seconds),
    criticalOptions: options.options ?? [],
    extensions: kind === "host" ? [] : (options.extensions ?? USER_EXTENSIONS),
  });
  const certificate = concat(body, sshString(await sshSignature(signer, body)));
  readSshCertificate(certificate);
  await recordIssued(
    vault,
    await vault.keys.show(signer.id),
    "ssh",
    serial.toString(16).padStart(16, "0"),
    certificate,
  );
  return certificate;
}

async function sshSignature(signer: Signer, body: Uint8Array): Promise<Uint8Array> {
  const { family } = factsOf(signer.type);
  const digest = sshFormOf(signer.type)?.digest;
  const algorithm = family === "rsa" ? "rsa-pkcs1" : family === "ec" ? "ecdsa" : "ed25519";
  return sshSignatureOf(signer.type, await signer.sign(body, { algorithm, digest }, "raw"), "sha512");
}

function mustMakeSense(key: Uint8Array, options: SshCertificateOptions): void {
  const { id, kind, principals, options: given = [], extensions = [] } = options;
  if (isSshCertificate(key)) throw new ThornkeyError("USAGE", "that is a certificate already; give the key itself");
  if (!/^[^\p{Cc}]{1,256}$/u.test(id)) throw new ThornkeyError("USAGE", "--id is one line of text");
  if (principals.length === 0) {
    throw new ThornkeyError("USAGE", "a certificate without a principal is one for everybody", {
      hint: "say --principal USER, or with --host --principal HOSTNAME",
    });
  }
  const odd = principals.find((name) => !/^[^\p{Cc}\s,]{1,256}$/u.test(name));
  if (odd !== undefined) throw new ThornkeyError("USAGE", `'${odd}' is no principal`);
  if (kind === "host" && (given.length > 0 || extensions.length > 0)) {
    throw new ThornkeyError("USAGE", "a host's certificate has neither options nor extensions");
  }
  const names = given.map(([name]) => name);
  mustBeKnown("option", names, OPTIONS);
  mustBeKnown("extension", extensions, EXTENSIONS);
  if (given.some(([, value]) => value === "")) throw new ThornkeyError("USAGE", "an option without a value");
  for (const all of [names, extensions]) {
    if (new Set(all).size < all.length) throw new ThornkeyError("USAGE", "the same option is there twice");
  }
}

function mustBeKnown(what: string, names: readonly string[], known: readonly string[]): void {
  const odd = names.find((name) => !known.includes(name));
  if (odd === undefined) return;
  throw new ThornkeyError("USAGE", `there is no ${what} '${odd}'`, { hint: `there are ${known.join(", ")}` });
}

/**
 * @param file a line as in `id_ed25519.pub`
 * @returns the key's blob, and what stands behind it
 * @throws ThornkeyError `MALFORMED`
 */
export function readSshPublicKey(file: Uint8Array): { readonly blob: Uint8Array; readonly comment: string } {
  const line = Buffer.from(file).toString().trim();
  const [, name, body = "", comment = ""] =
    /^([a-z0-9@.-]+)\s+([A-Za-z0-9+/]+=*)(?:[ \t]+([^\r\n]*))?$/.exec(line) ?? [];
  const blob = new Uint8Array(Buffer.from(body, "base64"));
  try {
    if (name !== undefined && sshNameIn(blob) === name) return { blob, comment };
  } catch (cause) {
    if (!(cause instanceof OutOfBytes)) throw cause;
  }
  throw new ThornkeyError("MALFORMED", "not a public key of OpenSSH", { hint: "give a file such as id_ed25519.pub" });
}

/** @returns a line as in `id_ed25519-cert.pub`, with a line end */
export function sshCertificateLine(blob: Uint8Array, comment: string): string {
  const remark = comment.replaceAll(/\p{Cc}/gu, " ").trim();
  return `${sshNameIn(blob)} ${Buffer.from(blob).toString("base64")}${remark === "" ? "" : ` ${remark}`}\n`;
}

/** What of a certificate is for people and scripts to read. */
export function describeSshCertificate(blob: Uint8Array) {
  const { serial, kind, keyId, principals, validAfter, validBefore, ...rest } = readSshCertificate(blob);
  const time = (seconds: bigint) =>
    seconds > 253_402_300_799n ? "for ever" : new Date(Number(seconds) * 1000).toISOString();
  const { criticalOptions, extensions } = rest;
  const options = criticalOptions.map(([name, value]) => `${name}=${value}`);
  return {
    ...{ serial: serial.toString(), kind, id: keyId, principals },
    ...{ validAfter: time(validAfter), validBefore: time(validBefore), options, extensions },
  };
}
