/** Secrets agreed with others (ECDH, X25519), and keys derived from them. */
import { hkdfSync, pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import type { KeyType } from "../../operations/key-types.ts";
import { spkiOf } from "../../operations/public-keys.ts";
import type { PublicKey } from "./slots.ts";

export type KdfName = "none" | "rfc5869-sha256" | "rfc5869-sha512" | "pbkdf2-sha256" | "pbkdf2-sha512";

export interface KdfSpec {
  readonly kdf: KdfName;
  /** At most 128 bytes. */
  readonly salt: Uint8Array;
  /** At most 128 bytes; only for rfc5869. */
  readonly info: Uint8Array;
  /** Only for PBKDF2. */
  readonly iterations: number;
  /** Bytes. */
  readonly size: number;
}

type Derive = (secret: Uint8Array, spec: KdfSpec) => Promise<Uint8Array>;

const LONGEST_INPUT = 128;
const MOST_ITERATIONS = 0xffff_ffff;
const stretch = promisify(pbkdf2);

const hkdf =
  (digest: string): Derive =>
  async (secret, { salt, info, size }) =>
    new Uint8Array(hkdfSync(digest, secret, salt, info, size));
const pbkdf2With =
  (digest: string): Derive =>
  async (secret, { salt, iterations, size }) =>
    new Uint8Array(await stretch(secret, salt, iterations, size, digest));

/** How each derives, and the most bytes it makes: RFC 5869, 2.3: 255 digests. */
const KDFS: { readonly [Name in KdfName]: { readonly derive: Derive; readonly most: number } } = {
  none: { derive: async (secret) => secret.slice(), most: Number.POSITIVE_INFINITY },
  "rfc5869-sha256": { derive: hkdf("sha256"), most: 255 * 32 },
  "rfc5869-sha512": { derive: hkdf("sha512"), most: 255 * 64 },
  "pbkdf2-sha256": { derive: pbkdf2With("sha256"), most: 16_320 },
  "pbkdf2-sha512": { derive: pbkdf2With("sha512"), most: 16_320 },
};

/** Before a key is used. @throws ThornkeyError `USAGE` */
export function checkKdf({ kdf, salt, info, iterations, size }: KdfSpec): void {
  if (!Object.hasOwn(KDFS, kdf)) {
    throw new ThornkeyError("USAGE", `there is no key derivation '${String(kdf).slice(0, 40)}'`, {
      hint: `it is one of ${Object.keys(KDFS).join(", ")}`,
    });
  }
  if (kdf === "none") return;
  if (salt.length > LONGEST_INPUT) throw new ThornkeyError("USAGE", `a salt has at most ${LONGEST_INPUT} bytes`);
  if (info.length > LONGEST_INPUT) throw new ThornkeyError("USAGE", `info has at most ${LONGEST_INPUT} bytes`);
  if (!Number.isInteger(iterations) || iterations < 1 || iterations > MOST_ITERATIONS) {
    throw new ThornkeyError("USAGE", "the number of iterations is a whole number from 1 on");
  }
  const { most } = KDFS[kdf];
  if (!Number.isInteger(size) || size < 1 || size > most) {
    throw new ThornkeyError("USAGE", `${kdf} derives 1 to ${most} bytes`);
  }
}

/** @param spec checked before. @returns the caller's to zero */
export function derived(secret: Secret, spec: KdfSpec): Promise<Uint8Array> {
  return secret.use((bytes) => KDFS[spec.kdf].derive(bytes, spec));
}

/**
 * Somebody's public key as he sent it.
 *
 * @param type of the key he agrees with
 * @param bytes X then Y, with 04 before it or not; of X25519 32 bytes
 * @throws ThornkeyError `MALFORMED` when it is no key of the type
 */
export function peerKey(type: KeyType, bytes: Uint8Array): PublicKey {
  const point = bytes.length === 65 && bytes[0] === 4 ? bytes.subarray(1) : bytes;
  return { type, spki: spkiOf(type, point) };
}
