/** A public key in the forms programs want it in. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { concat } from "../bytes/bytes.ts";
import { Writer } from "../bytes/writer.ts";
import { ThornkeyError } from "../errors.ts";

export const PUBLIC_KEY_FORMATS = ["pem", "der", "jwk", "ssh"] as const;
export type PublicKeyFormat = (typeof PUBLIC_KEY_FORMATS)[number];

/** What each form is. `pem` ends with a line end; `jwk` is JSON (RFC 7517, 8037, 8812); `ssh` is one line. */
interface Forms {
  readonly pem: string;
  readonly der: Uint8Array;
  readonly jwk: string;
  readonly ssh: string;
}

/**
 * @param spki SubjectPublicKeyInfo, DER
 * @param comment for `ssh`: what stands behind the key
 * @throws ThornkeyError `MALFORMED` for what is no public key; `NOT_SUPPORTED` for a key the form does not have
 */
export function publicKeyAs<Format extends PublicKeyFormat>(
  format: Format,
  spki: Uint8Array,
  comment = "",
): Forms[Format] {
  const key = parse(spki);
  const write: { readonly [F in PublicKeyFormat]: () => Forms[F] } = {
    pem: () => key.export({ type: "spki", format: "pem" }).toString(),
    der: () => new Uint8Array(key.export({ type: "spki", format: "der" })),
    jwk: () => JSON.stringify(jwkOf(key)),
    ssh: () => sshLine(key, comment),
  };
  return write[format]();
}

function parse(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch (cause) {
    throw new ThornkeyError("MALFORMED", "not a public key", { cause });
  }
}

type Jwk = { readonly [member: string]: string | undefined };

function jwkOf(key: KeyObject): Jwk {
  try {
    return key.export({ format: "jwk" }) as Jwk;
  } catch (cause) {
    throw new ThornkeyError("NOT_SUPPORTED", "a key of this type has no JWK", { cause });
  }
}

/** The curves of SSH by their names in a JWK (RFC 5656, 10.1). */
const SSH_CURVES: { readonly [crv: string]: string } = {
  "P-256": "nistp256",
  "P-384": "nistp384",
  "P-521": "nistp521",
};

function sshLine(key: KeyObject, comment: string): string {
  const [name, ...fields] = sshFields(jwkOf(key));
  const blob = concat(...[new TextEncoder().encode(name), ...fields].map(sshString));
  const remark = comment.replaceAll(/[\r\n\0]/g, " ").trim();
  return `${name} ${Buffer.from(blob).toString("base64")}${remark === "" ? "" : ` ${remark}`}`;
}

/** The fields of a key's blob: its type, and so on as RFC 4253 (6.6), RFC 5656 (3.1) and RFC 8709 (4) say. */
function sshFields({ kty, crv = "", n, e, x, y }: Jwk): [string, ...Uint8Array[]] {
  if (kty === "RSA") return ["ssh-rsa", mpint(fromBase64(e)), mpint(fromBase64(n))];
  if (crv === "Ed25519") return ["ssh-ed25519", fromBase64(x)];
  const curve = SSH_CURVES[crv];
  if (kty === "EC" && curve !== undefined) {
    const point = concat(Uint8Array.of(4), fromBase64(x), fromBase64(y));
    return [`ecdsa-sha2-${curve}`, new TextEncoder().encode(curve), point];
  }
  throw new ThornkeyError("NOT_SUPPORTED", `SSH has no keys of the type ${crv || kty}`, {
    hint: "SSH knows p256, p384, p521, rsa and ed25519",
  });
}

function fromBase64(text: string | undefined): Uint8Array {
  return new Uint8Array(Buffer.from(text ?? "", "base64url"));
}

/** RFC 4251, 5: `string`. */
function sshString(bytes: Uint8Array): Uint8Array {
  return new Writer(4 + bytes.length).u32be(bytes.length).put(bytes).done();
}

/** RFC 4251, 5: the bytes of an `mpint`; JWK numbers have no leading zero bytes. */
function mpint(number: Uint8Array): Uint8Array {
  return (number[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), number) : number;
}
