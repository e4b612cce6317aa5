/** DigestInfo (RFC 8017, A.2.4): what PKCS#1 v1.5 signs, the digest's name and the digest. Each has one form. */
import { concat, equal, fromHex } from "../../bytes/bytes.ts";
import { DIGESTS, type Digest } from "../../operations/key-types.ts";

const HEADS: { readonly [Name in Digest]: Uint8Array } = {
  sha1: fromHex("3021300906052b0e03021a05000414"),
  sha224: fromHex("302d300d06096086480165030402040500041c"),
  sha256: fromHex("3031300d060960864801650304020105000420"),
  sha384: fromHex("3041300d060960864801650304020205000430"),
  sha512: fromHex("3051300d060960864801650304020305000440"),
};

export function digestInfoOf(name: Digest, digest: Uint8Array): Uint8Array {
  return concat(HEADS[name], digest);
}

/** @returns the digest and its name, or undefined when it is none of ours; bytes are a view */
export function readDigestInfo(info: Uint8Array): { name: Digest; digest: Uint8Array } | undefined {
  for (const name of Object.keys(HEADS) as Digest[]) {
    const head = HEADS[name];
    if (info.length !== head.length + DIGESTS[name] || !equal(info.subarray(0, head.length), head)) continue;
    return { name, digest: info.subarray(head.length) };
  }
  return undefined;
}
