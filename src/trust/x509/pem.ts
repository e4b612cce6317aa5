/** Documents in PEM (RFC 7468) or DER. */

import { ThornkeyError } from "../../errors.ts";
import { fieldsOf } from "./der.ts";

export type PemLabel = "CERTIFICATE" | "CERTIFICATE REQUEST" | "X509 CRL";

/** @returns one document in PEM, with a line end */
export function pem(label: PemLabel, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** What others write for the same. */
const SAME: { readonly [Label in PemLabel]: readonly string[] } = {
  CERTIFICATE: ["CERTIFICATE", "X509 CERTIFICATE"],
  "CERTIFICATE REQUEST": ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"],
  "X509 CRL": ["X509 CRL"],
};

/**
 * @param file PEM with anything between, or DER, one document after the other
 * @returns the documents of this kind, DER, in the order of the file; at least one
 * @throws ThornkeyError `MALFORMED` when there is none
 */
export function documentsIn(label: PemLabel, file: Uint8Array): Uint8Array[] {
  const found = file[0] === 0x30 ? derIn(file) : pemIn(label, Buffer.from(file).toString("latin1"));
  if (found.length === 0) throw new ThornkeyError("MALFORMED", `no ${label.toLowerCase()} in PEM or DER`);
  return found;
}

function derIn(file: Uint8Array): Uint8Array[] {
  const fields = fieldsOf(file);
  const found: Uint8Array[] = [];
  while (fields.more) found.push(fields.whole());
  return found;
}

function pemIn(label: PemLabel, text: string): Uint8Array[] {
  const blocks = text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----\s*([A-Za-z0-9+/=\s]*?)-----END \1-----/g);
  return [...blocks].flatMap(([, name = "", body = ""]) =>
    SAME[label].includes(name) ? [new Uint8Array(Buffer.from(body, "base64"))] : [],
  );
}
