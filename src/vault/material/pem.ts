import { ThornkeyError } from "../../errors.ts";
import { decodeBase64 } from "./base64.ts";

const BEGIN = "-----BEGIN ";
const DASHES = "-----";
const LONGEST_LABEL = 64;

export interface PemBlock {
  readonly label: string;
  /** A new array. */
  readonly der: Uint8Array;
}

/** @returns whether there is a PEM block (RFC 7468) in it; text may stand before it */
export function isPem(bytes: Uint8Array): boolean {
  return indexOf(bytes, BEGIN, 0) >= 0;
}

/**
 * The first block of a PEM text whose label ends in a word. Text between blocks is passed over; so are blocks with other
 * labels (EC PARAMETERS, certificates).
 *
 * @throws ThornkeyError `MALFORMED`, `NOT_SUPPORTED` for a block with headers, which is encrypted
 */
export function findPemBlock(bytes: Uint8Array, lastWord: string): PemBlock {
  let position = 0;
  for (;;) {
    const begin = indexOf(bytes, BEGIN, position);
    if (begin < 0) throw new ThornkeyError("MALFORMED", `a PEM text without ${lastWord}`);
    const labelEnd = indexOf(bytes, DASHES, begin + BEGIN.length);
    if (labelEnd < 0 || labelEnd - begin > LONGEST_LABEL) throw malformed();
    const label = latin1(bytes, begin + BEGIN.length, labelEnd);
    const bodyStart = labelEnd + DASHES.length;
    const bodyEnd = indexOf(bytes, `${DASHES}END ${label}${DASHES}`, bodyStart);
    if (bodyEnd < 0) throw malformed();
    if (label.endsWith(lastWord)) return { label, der: bodyOf(bytes.subarray(bodyStart, bodyEnd)) };
    position = bodyEnd;
  }
}

function bodyOf(text: Uint8Array): Uint8Array {
  if (text.includes(0x3a)) {
    throw new ThornkeyError("NOT_SUPPORTED", "the private key is encrypted", { hint: DECRYPT_FIRST });
  }
  return decodeBase64(text);
}

export const DECRYPT_FIRST = "take the passphrase off first: openssl pkey -in FILE, or ssh-keygen -p -f FILE";

function indexOf(bytes: Uint8Array, text: string, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(text, from, "latin1");
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1", start, end);
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not a PEM text (RFC 7468)");
}
