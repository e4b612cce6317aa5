/** The file that stands for a key of a token where a program wants a file (pkcs11-provider, "PKCS#11 PROVIDER URI"). */
import { encodeDer, sequenceOf, TAG, type Tree } from "../../bytes/asn1.ts";

const LABEL = "PKCS#11 PROVIDER URI";
const VERSION = "PKCS#11 Provider URI v1.0";

/** @param uri of the key (RFC 7512). @returns PEM; there is no secret in it */
export function pointerPem(uri: string): string {
  const der = encodeDer(sequenceOf(textOf(TAG.visibleString, VERSION), textOf(TAG.utf8String, uri)));
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${LABEL}-----`, ...lines, `-----END ${LABEL}-----`, ""].join("\n");
}

function textOf(tag: number, text: string): Tree {
  return { tag, content: [new TextEncoder().encode(text)] };
}
