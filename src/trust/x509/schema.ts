/** The structures of X.509 are those of the schemas of @peculiar/asn1-*; this is the way to and from their bytes. */
import { AsnConvert } from "@peculiar/asn1-schema";
import { Name, SubjectPublicKeyInfo } from "@peculiar/asn1-x509";
import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";

/** @returns DER */
export function encodeSchema(value: object): Uint8Array {
  return new Uint8Array(AsnConvert.serialize(value));
}

/** The schemas have bytes as buffers of their own. */
export function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

/** @param digits big endian. @returns the content of an INTEGER that is 0 or more: as short as can be (X.690, 8.3) */
export function integerBuffer(digits: Uint8Array): ArrayBuffer {
  const first = digits.findIndex((byte) => byte !== 0);
  const short = first < 0 ? Uint8Array.of(0) : digits.subarray(first);
  return bufferOf((short[0] ?? 0) < 0x80 ? short : Uint8Array.from([0, ...short]));
}

/**
 * @param der Name, as it stands in a certificate
 * @returns it for another document, where it must stand as it is: names are compared byte by byte
 * @throws ThornkeyError `NOT_SUPPORTED` for one that cannot be written as it was
 */
export function nameOf(der: Uint8Array): Name {
  const name = unchanged(der, Name);
  if (name !== undefined) return name;
  throw new ThornkeyError("NOT_SUPPORTED", "a name in a form that cannot be written again as it is");
}

/**
 * @param spki SubjectPublicKeyInfo, DER: the vault's, or that of a request
 * @throws ThornkeyError `MALFORMED` for one that would be written in other bytes
 */
export function publicKeyOf(spki: Uint8Array): SubjectPublicKeyInfo {
  const publicKey = unchanged(spki, SubjectPublicKeyInfo);
  if (publicKey !== undefined) return publicKey;
  throw new ThornkeyError("MALFORMED", "a public key that is not in the DER form");
}

/** @returns undefined for what is no such structure, or would be written in other bytes than it has */
function unchanged<Schema extends object>(der: Uint8Array, type: new () => Schema): Schema | undefined {
  try {
    const value = AsnConvert.parse(bufferOf(der), type);
    return equal(encodeSchema(value), der) ? value : undefined;
  } catch {
    return undefined;
  }
}
