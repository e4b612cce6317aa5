/** Keys of hosts: whether one made a signature, and how OpenSSH names it. */
import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";
import { Reader } from "../../bytes/reader.ts";
import { readSshString, readSshText } from "../../bytes/ssh.ts";
import { sshKeyIn } from "../../operations/ssh-keys.ts";

/** The curves of SSH (RFC 5656, 10.1): their names in a JWK, what they sign over, and bytes of a coordinate. */
const CURVES: { readonly [name: string]: { crv: string; digest: string; size: number } } = {
  nistp256: { crv: "P-256", digest: "sha256", size: 32 },
  nistp384: { crv: "P-384", digest: "sha384", size: 48 },
  nistp521: { crv: "P-521", digest: "sha512", size: 66 },
};

/** Signatures of RSA: ssh-rsa is over SHA-1, which proves nothing any more. */
const RSA_DIGESTS: { readonly [name: string]: string } = { "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" };

/**
 * @param blob of a host's key, or of its certificate
 * @param signature as SSH writes it (RFC 4253, 6.6)
 * @returns whether the key made the signature over `data`; false for what is malformed
 */
export function isSignedBy(blob: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    const reader = new Reader(signature);
    const algorithm = readSshText(reader);
    const bytes = readSshString(reader);
    if (reader.remaining > 0) return false;
    const key = sshKeyIn(blob);
    const fields = new Reader(key);
    const name = readSshText(fields);
    if (name === "ssh-ed25519") {
      const x = base64(readSshString(fields));
      return algorithm === name && verify(null, data, fromJwk({ kty: "OKP", crv: "Ed25519", x }), bytes);
    }
    if (name === "ssh-rsa") {
      const [e, n] = [readSshString(fields), readSshString(fields)].map(base64) as [string, string];
      const digest = RSA_DIGESTS[algorithm];
      return digest !== undefined && verify(digest, data, fromJwk({ kty: "RSA", e, n }), bytes);
    }
    const curve = CURVES[readSshText(fields)];
    if (curve === undefined || algorithm !== name) return false;
    const point = readSshString(fields);
    if (point.length !== 1 + 2 * curve.size || point[0] !== 4) return false;
    const [x, y] = [base64(point.subarray(1, 1 + curve.size)), base64(point.subarray(1 + curve.size))];
    const parts = new Reader(bytes);
    const raw = new Uint8Array(2 * curve.size);
    for (const end of [curve.size, 2 * curve.size]) {
      const number = withoutZeros(readSshString(parts));
      raw.set(number, end - number.length);
    }
    const host = { key: fromJwk({ kty: "EC", crv: curve.crv, x, y }), dsaEncoding: "ieee-p1363" } as const;
    return verify(curve.digest, data, host, raw);
  } catch {
    return false;
  }
}

/** @returns how `ssh-keygen -l` prints it */
export function fingerprintOf(blob: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function fromJwk(key: { [member: string]: string }): KeyObject {
  return createPublicKey({ key, format: "jwk" });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}

function withoutZeros(number: Uint8Array): Uint8Array {
  let start = 0;
  while (start < number.length && number[start] === 0) start++;
  return number.subarray(start);
}
