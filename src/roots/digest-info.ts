/** Digests that roots sign over, and how PKCS#1 v1.5 names them. */
import { fromHex } from "../bytes/bytes.ts";
import type { SigningDigest } from "./root.ts";

interface DigestInfo {
  /** Bytes of the digest. */
  readonly size: number;
  /** What stands before it in a DigestInfo (RFC 8017, 9.2, note 1). */
  readonly head: Uint8Array;
}

export const DIGEST_INFO: { readonly [Name in SigningDigest]: DigestInfo } = {
  sha256: { size: 32, head: fromHex("3031300d060960864801650304020105000420") },
  sha384: { size: 48, head: fromHex("3041300d060960864801650304020205000430") },
  sha512: { size: 64, head: fromHex("3051300d060960864801650304020305000440") },
};
