/** Signatures and OAEP in the words of EVP_PKEY_CTX_ctrl_str, and the checks before any of it is tried. */
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Setting } from "../../machine/openssl/native-key.ts";
import {
  canDo,
  DIGESTS,
  type Digest,
  type KeyType,
  type SignatureAlgorithm,
  sizeOf,
} from "../../operations/key-types.ts";
import type { EncryptSpec, SignSpec } from "./material.ts";

export const DEFAULT_OAEP_DIGEST: Digest = "sha256";

const ECDSA: Setting = { id: "ecdsa", parameters: [] };

/**
 * Sees to it that a type can sign like that, and that a digest is as long as it should be.
 *
 * @throws ThornkeyError `NOT_SUPPORTED`, `MALFORMED`
 */
export function checkSignSpec(type: KeyType, spec: SignSpec, data: Uint8Array): void {
  const { algorithm, digest, digested, saltLength } = spec;
  if (!canDo(type, algorithm)) throw notSupported(type, algorithm);
  if (saltLength !== undefined) checkSaltLength(type, spec, saltLength);
  if (algorithm === "ed25519") {
    if (digest === undefined && !digested) return;
    throw new ThornkeyError("NOT_SUPPORTED", "Ed25519 signs the message itself, not a digest of it");
  }
  const most = WITHOUT_DIGEST[algorithm]?.(sizeOf(type));
  if (most !== undefined) {
    if (digest !== undefined || digested) {
      throw new ThornkeyError("NOT_SUPPORTED", `${algorithm} signs what it is given, and knows no digest`);
    }
    if (data.length > most || (algorithm === "rsa-raw" && data.length < most)) {
      throw new ThornkeyError("MALFORMED", `${algorithm} with ${type} signs ${most} bytes, not ${data.length}`);
    }
    return;
  }
  if (digest === undefined) throw new ThornkeyError("MALFORMED", `${algorithm} needs the name of a digest`);
  if (digested && data.length !== DIGESTS[digest]) {
    throw new ThornkeyError("MALFORMED", `a ${digest} digest has ${DIGESTS[digest]} bytes, not ${data.length}`);
  }
}

/** The algorithms that know of no digest, and how many bytes they take of a modulus of so many. */
const WITHOUT_DIGEST: { readonly [Name in SignatureAlgorithm]?: (modulus: number) => number } = {
  // RFC 8017, 9.2: at least 11 bytes are padding.
  "rsa-pkcs1-any": (modulus) => modulus - 11,
  "rsa-raw": (modulus) => modulus,
};

function checkSaltLength(type: KeyType, { algorithm, digest }: SignSpec, saltLength: number): void {
  const most = algorithm === "rsa-pss" && digest !== undefined ? maximumSaltLength(type, digest) : -1;
  if (Number.isInteger(saltLength) && saltLength >= 0 && saltLength <= most) return;
  throw new ThornkeyError(
    "MALFORMED",
    most < 0 ? "only rsa-pss has a salt" : `a salt of ${type} with ${digest} has at most ${most} bytes`,
  );
}

/** @returns bytes: what RFC 8017, 9.1.1 leaves room for */
export function maximumSaltLength(type: KeyType, digest: Digest): number {
  return sizeOf(type) - DIGESTS[digest] - 2;
}

/** @returns bytes of the longest message that RSA encrypts so (RFC 8017, 7.1.1, 7.2.1) */
export function maximumPlaintext(type: KeyType, { cipher, digest = DEFAULT_OAEP_DIGEST }: EncryptSpec): number {
  if (cipher === "rsa-raw") return sizeOf(type);
  return cipher === "rsaes-pkcs1" ? sizeOf(type) - 11 : sizeOf(type) - 2 * DIGESTS[digest] - 2;
}

const PKCS1: Setting = { id: "pkcs1", parameters: [["rsa_padding_mode", "pkcs1"]] };
const RAW: Setting = { id: "raw", parameters: [["rsa_padding_mode", "none"]] };

/** Of a specification that was checked. */
export function signSetting({ algorithm, digest, saltLength }: SignSpec): Setting {
  if (algorithm === "rsa-pkcs1-any") return PKCS1;
  if (algorithm === "rsa-raw") return RAW;
  if (algorithm === "ecdsa" || digest === undefined) return ECDSA;
  if (algorithm === "rsa-pkcs1") {
    return {
      id: `pkcs1 ${digest}`,
      parameters: [
        ["rsa_padding_mode", "pkcs1"],
        ["digest", digest],
      ],
    };
  }
  const salt = saltLength ?? DIGESTS[digest];
  return {
    id: `pss ${digest} ${salt}`,
    parameters: [
      ["rsa_padding_mode", "pss"],
      ["digest", digest],
      ["rsa_mgf1_md", digest],
      ["rsa_pss_saltlen", `${salt}`],
    ],
  };
}

/** How RSA encrypts. OpenSSL 3.2 and later answer noise to a wrong padding of PKCS#1 v1.5 ("implicit rejection"). */
export function cipherSetting({ cipher, digest = DEFAULT_OAEP_DIGEST, label }: EncryptSpec): Setting {
  if (cipher === "rsaes-pkcs1") return PKCS1;
  if (cipher === "rsa-raw") return RAW;
  return {
    id: "oaep",
    parameters: [
      ["rsa_padding_mode", "oaep"],
      ["rsa_oaep_md", digest],
      ["rsa_mgf1_md", digest],
      ...(label === undefined || label.length === 0 ? [] : [["rsa_oaep_label", toHex(label)] as const]),
    ],
  };
}

export function notSupported(type: KeyType, what: string): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", `a key of type ${type} cannot do ${what}`);
}
