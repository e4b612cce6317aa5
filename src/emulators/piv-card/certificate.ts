import { randomBytes } from "node:crypto";
import { encodeDer, integerOf, sequenceOf, TAG, type Tree } from "../../bytes/asn1.ts";
import { fromHex } from "../../bytes/bytes.ts";
import { type Key, publicKeyOf, signMessage } from "./keys.ts";
import type { Algorithm, Slot } from "./slots.ts";

/**
 * A certificate a key signed for itself (RFC 5280), so that software finds the key: PIV has no other way to tell its public
 * part.
 *
 * @param name the common name of subject and issuer
 * @param now from when it is valid, for ever (4.1.2.5)
 * @returns DER
 */
export function selfSigned(key: Pick<Key, "algorithm" | "pkcs8">, slot: Slot, name: string, now: Date): Uint8Array {
  const algorithm: Tree = { tag: TAG.sequence, content: [fromHex(SIGNATURE_ALGORITHMS[key.algorithm])] };
  const serial = new Uint8Array(randomBytes(16));
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const entity = sequenceOf({
    tag: SET,
    content: [sequenceOf(oid("550403"), { tag: TAG.utf8String, content: [text(name)] })],
  });
  const body = sequenceOf(
    { tag: TAG.context0, content: [integerOf(Uint8Array.of(2))] },
    integerOf(serial),
    algorithm,
    entity,
    sequenceOf({ tag: UTC_TIME, content: [text(utcTime(now))] }, { tag: GENERALIZED_TIME, content: [text(NO_END)] }),
    entity,
    raw(publicKeyOf(key.pkcs8).export({ format: "der", type: "spki" })),
    { tag: EXTENSIONS, content: [sequenceOf(keyUsage(key.algorithm === "RSA-2048" ? slot.usage.rsa : slot.usage.ec))] },
  );
  const signature = signMessage(key, encodeDer(body));
  return encodeDer(sequenceOf(body, algorithm, { tag: TAG.bitString, content: [Uint8Array.of(0), signature] }));
}

const SET = 0x31;
const BOOLEAN = 0x01;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const EXTENSIONS = 0xa3;
const NO_END = "99991231235959Z";

/** AlgorithmIdentifier's content: ecdsa-with-SHA256, ecdsa-with-SHA384 (RFC 5758), sha256WithRSAEncryption (RFC 4055). */
const SIGNATURE_ALGORITHMS: Record<Algorithm, string> = {
  "P-256": "06 08 2a8648ce3d040302",
  "P-384": "06 08 2a8648ce3d040303",
  "RSA-2048": "06 09 2a864886f70d01010b 05 00",
};

/** id-ce-keyUsage, critical. */
function keyUsage(bits: number): Tree {
  const unused = Math.clz32(bits & -bits) === 32 ? 0 : 31 - Math.clz32(bits & -bits);
  const value = encodeDer({ tag: TAG.bitString, content: [Uint8Array.of(unused, bits)] });
  return sequenceOf(
    oid("551d0f"),
    { tag: BOOLEAN, content: [Uint8Array.of(0xff)] },
    { tag: TAG.octetString, content: [value] },
  );
}

function oid(hex: string): Tree {
  return { tag: TAG.oid, content: [fromHex(hex)] };
}

/** A SEQUENCE that is encoded already. */
function raw(der: Uint8Array): Tree {
  // Of 128 to 65535 bytes, or fewer: the head is as long as its second byte says.
  const head = (der[1] ?? 0) < 0x80 ? 2 : 2 + ((der[1] ?? 0) - 0x80);
  return { tag: TAG.sequence, content: [new Uint8Array(der.subarray(head))] };
}

/** YYMMDDHHMMSSZ */
function utcTime(date: Date): string {
  return `${date.toISOString().replaceAll(/[-:T]/g, "").slice(2, 14)}Z`;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
