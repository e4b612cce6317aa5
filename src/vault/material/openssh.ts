/** Private keys as ssh-keygen writes them (OpenSSH, PROTOCOL.key), without a passphrase. */
import { concat, equal } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { ThornkeyError } from "../../errors.ts";
import { rsaExponentOf } from "../../machine/openssl/rsa-numbers.ts";
import type { ForeignKey } from "./parse.ts";
import { DECRYPT_FIRST } from "./pem.ts";
import { type CurveType, ecPrivateKeyOf, pointPrivateKeyOf, rsaPrivateKeyOf } from "./pkcs8.ts";

const MAGIC = new TextEncoder().encode("openssh-key-v1\0");

/** @returns whether it begins as one, without any armor */
export function isOpenSsh(bytes: Uint8Array): boolean {
  return bytes.length > MAGIC.length && equal(bytes.subarray(0, MAGIC.length), MAGIC);
}

/** @throws ThornkeyError `MALFORMED`, `NOT_SUPPORTED` */
export function readOpenSsh(bytes: Uint8Array): ForeignKey {
  const outer = new Reader(bytes);
  if (!equal(outer.take(MAGIC.length), MAGIC)) throw malformed();
  const cipher = text(outer);
  if (cipher !== "none") {
    throw new ThornkeyError("NOT_SUPPORTED", "the private key is encrypted", { hint: DECRYPT_FIRST });
  }
  if (text(outer) !== "none" || string(outer).length !== 0 || outer.u32be() !== 1) throw malformed();
  string(outer); // the public part, which stands in the private section again
  const section = new Reader(string(outer));
  const [check, again] = [section.u32be(), section.u32be()];
  if (outer.remaining > 0 || check !== again) throw malformed();
  const read = READERS[text(section)];
  if (read === undefined) throw new ThornkeyError("NOT_SUPPORTED", "an OpenSSH key of a type the vault does not have");
  const key = read(section);
  string(section); // comment
  if (section.rest().some((byte, index) => byte !== index + 1)) throw malformed();
  return key;
}

const READERS: { readonly [name: string]: ((section: Reader) => ForeignKey) | undefined } = {
  "ssh-ed25519": (section) => {
    const publicPart = string(section);
    const both = string(section);
    if (both.length !== 64 || !equal(both.subarray(32), publicPart)) throw malformed();
    return { der: pointPrivateKeyOf("ed25519", both.subarray(0, 32)), publicPoint: new Uint8Array(publicPart) };
  },
  "ecdsa-sha2-nistp256": ecdsa("p256", "nistp256"),
  "ecdsa-sha2-nistp384": ecdsa("p384", "nistp384"),
  "ecdsa-sha2-nistp521": ecdsa("p521", "nistp521"),
  "ssh-rsa": (section) => {
    const [n, e, d, qi, p, q] = [1, 2, 3, 4, 5, 6].map(() => mpint(section));
    if (!(n && e && d && qi && p && q)) throw malformed();
    const [dp, dq] = [rsaExponentOf(d, p), rsaExponentOf(d, q)];
    if (dp === undefined || dq === undefined) {
      throw new ThornkeyError("NOT_SUPPORTED", "an RSA key in OpenSSH's form cannot be read here", {
        hint: "convert it first: ssh-keygen -p -m PEM -f FILE",
      });
    }
    const der = rsaPrivateKeyOf({ n, e, d, p, q, dp, dq, qi });
    dp.fill(0);
    dq.fill(0);
    return { der };
  },
};

function ecdsa(type: CurveType, curve: string) {
  return (section: Reader): ForeignKey => {
    if (text(section) !== curve) throw malformed();
    const point = string(section);
    if (point[0] !== 4) throw malformed();
    return { der: ecPrivateKeyOf(type, mpint(section), point.subarray(1)) };
  };
}

function string(reader: Reader): Uint8Array {
  return reader.take(reader.u32be());
}

/** @returns the digits of a number that is not negative */
function mpint(reader: Reader): Uint8Array {
  const bytes = string(reader);
  const [first = 0x80] = bytes;
  if (first >= 0x80) throw malformed();
  return first === 0 ? bytes.subarray(1) : bytes;
}

function text(reader: Reader): string {
  const bytes = string(reader);
  return bytes.length > 64 ? "" : Buffer.from(concat(bytes)).toString("latin1");
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not a private key of OpenSSH");
}
