/**
 * Keys of a TPM as files: the ASN.1 structure TPMKey and its PEM form "TSS2 PRIVATE KEY" ("ASN.1 Specification for TPM 2.0
 * Key Files"; OpenSSL's tpm2 providers, ssh-tpm-agent and the kernel's trusted keys read the same).
 */
import {
  elementsOf,
  encodeDer,
  integerOf,
  readElement,
  sequenceOf,
  TAG,
  type Tree,
  unsignedDigits,
} from "../../bytes/asn1.ts";
import { equal } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";
import { bytes2b, encode } from "./codec.ts";
import { type PublicArea, public2b } from "./structures.ts";

export interface KeyFile {
  readonly kind: "loadable" | "sealed";
  /** Whether it has no authValue; so it is where the file does not say. */
  readonly emptyAuth: boolean;
  /** TPM handle of the parent. */
  readonly parent: number;
  readonly area: PublicArea;
  /** TPM2B_PRIVATE without its length: encrypted by the parent. */
  readonly privatePart: Uint8Array;
}

/** 2.23.133.10.1.3 and .5, contents. */
const OIDS = {
  loadable: Uint8Array.of(0x67, 0x81, 0x05, 0x0a, 0x01, 0x03),
  sealed: Uint8Array.of(0x67, 0x81, 0x05, 0x0a, 0x01, 0x05),
} as const;

/** 2.23.133.10.1.4: to be imported, which makes it a key that was outside. */
const IMPORTABLE = Uint8Array.of(0x67, 0x81, 0x05, 0x0a, 0x01, 0x04);

const LABEL = "TSS2 PRIVATE KEY";
const BOOLEAN = 0x01;
/** A file of an RSA-4096 key has about 1.5 KB. */
const LARGEST = 16_384;

export function encodeKeyFile({ kind, emptyAuth, parent, area, privatePart }: KeyFile): Uint8Array {
  const octets = (bytes: Uint8Array): Tree => ({ tag: TAG.octetString, content: [bytes] });
  return encodeDer(
    sequenceOf(
      { tag: TAG.oid, content: [OIDS[kind]] },
      // Said also when it is not so: OpenSSL's provider takes silence for no passphrase.
      { tag: TAG.context0, content: [{ tag: BOOLEAN, content: [Uint8Array.of(emptyAuth ? 0xff : 0)] }] },
      integerOf(new Writer(4).u32be(parent).done()),
      octets(encode(public2b, area)),
      octets(encode(bytes2b, privatePart)),
    ),
  );
}

/** @throws ThornkeyError `MALFORMED`; `NOT_SUPPORTED` for a policy, which nothing here can fulfil */
export function decodeKeyFile(der: Uint8Array): KeyFile {
  try {
    return decoded(der);
  } catch (cause) {
    if (cause instanceof ThornkeyError && cause.code === "NOT_SUPPORTED") throw cause;
    throw new ThornkeyError("MALFORMED", "this is no key file of a TPM", { cause });
  }
}

function decoded(der: Uint8Array): KeyFile {
  if (der.length > LARGEST) throw new Error("too long");
  const whole = new Reader(der);
  const { tag, body } = readElement(whole);
  if (tag !== TAG.sequence || whole.remaining > 0) throw new Error("no sequence");
  const [type, ...others] = elementsOf(body);
  const kind = (Object.keys(OIDS) as (keyof typeof OIDS)[]).find((one) => type && equal(OIDS[one], type.body));
  if (type?.tag === TAG.oid && equal(type.body, IMPORTABLE)) {
    throw new ThornkeyError("NOT_SUPPORTED", "a key file to be imported: the key in it was not made in the TPM");
  }
  if (type?.tag !== TAG.oid || kind === undefined) throw new Error("of another kind");
  let emptyAuth = true;
  while (others[0] !== undefined && (others[0].tag & 0xe0) === TAG.context0) {
    const option = others.shift();
    if (option?.tag === TAG.context0) {
      const [flag] = elementsOf(option.body);
      emptyAuth = flag?.tag === BOOLEAN && flag.body[0] !== 0;
    } else if (option !== undefined && (option.tag & 0x1f) !== DESCRIPTION) {
      throw new ThornkeyError(
        "NOT_SUPPORTED",
        "a key file with a policy or a secret of its own, which is not used here",
      );
    }
  }
  const [parent, publicPart, privatePart, end] = others;
  if (
    parent?.tag !== TAG.integer ||
    publicPart?.tag !== TAG.octetString ||
    privatePart?.tag !== TAG.octetString ||
    end
  ) {
    throw new Error("a field is missing");
  }
  const digits = unsignedDigits(parent.body);
  if (digits.length > 4) throw new Error("no handle");
  return {
    kind,
    emptyAuth,
    parent: digits.reduce((sum, byte) => sum * 256 + byte, 0),
    area: filling(publicPart.body, public2b),
    privatePart: filling(privatePart.body, bytes2b),
  };
}

/** [4] of TPMKey, which says nothing a TPM needs. */
const DESCRIPTION = 4;

function filling<T>(bytes: Uint8Array, codec: { read(reader: Reader): T }): T {
  const reader = new Reader(bytes);
  const value = codec.read(reader);
  if (reader.remaining > 0) throw new Error("too long");
  return value;
}

/** @returns the PEM form, with a line's end at its end */
export function keyFileToPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${LABEL}-----`, ...lines, `-----END ${LABEL}-----`, ""].join("\n");
}

/** Whether something is a key file of a TPM in its PEM form. */
export function isKeyFilePem(bytes: Uint8Array): boolean {
  return new TextDecoder("latin1").decode(bytes.subarray(0, 4096)).includes(`-----BEGIN ${LABEL}-----`);
}

/** @returns the DER form of the first key file in a text, or undefined when there is none */
export function keyFileFromPem(text: string): Uint8Array | undefined {
  const found = new RegExp(`-----BEGIN ${LABEL}-----([A-Za-z0-9+/=\\s]+)-----END ${LABEL}-----`).exec(
    text.slice(0, 65_536),
  );
  return found?.[1] === undefined ? undefined : new Uint8Array(Buffer.from(found[1], "base64"));
}
