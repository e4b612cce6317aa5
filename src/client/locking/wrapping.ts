/**
 * Wraps a file key for one recipient (C2SP, age specification, "Native recipient types"), natively: what JavaScript would
 * do takes a small device longer to load than a file to lock.
 */
import * as crypto from "node:crypto";
import { createCipheriv, createECDH, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync } from "node:crypto";
import { bech32 } from "@scure/base";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { decodeTagRecipient, stanzaTag, TAG_KINDS, type TagRecipient } from "../../operations/age-recipients.ts";
import { hybridSharedSecret, p256SharedSecret, sealMessage } from "../../operations/hpke.ts";
import { encodeUnpadded, type Stanza } from "./header.ts";

/** @param fileKey 16 bytes */
export type Wrap = (fileKey: Uint8Array) => Stanza;

const X25519_BYTES = 32;
/** SubjectPublicKeyInfo before the key itself: X25519 (RFC 8410), ML-KEM-768 (draft-ietf-lamps-kyber-certificates). */
const X25519_SPKI_HEAD = Buffer.from("302a300506032b656e032100", "hex");
const MLKEM_SPKI_HEAD = Buffer.from("308204b2300b0609608648016503040402038204a100", "hex");
const X25519_INFO = "age-encryption.org/v1/X25519";

/**
 * @param recipient `age1…`, `age1tag1…` or `age1tagpq1…`
 * @returns undefined for other kinds
 * @throws Error for one of these kinds that is broken
 */
export function wrapFor(recipient: string): Wrap | undefined {
  const text = recipient.toLowerCase();
  if (text.startsWith("age1tag1") || text.startsWith("age1tagpq1")) return wrapForTag(decodeTagRecipient(recipient));
  const decoded = bech32.decodeUnsafe(recipient, false);
  if (decoded?.prefix !== "age") return undefined;
  const key = bech32.fromWords(decoded.words);
  if (key.length !== X25519_BYTES) throw new Error("an X25519 key of a wrong length");
  return wrapForX25519(key);
}

function wrapForX25519(recipient: Uint8Array): Wrap {
  const peer = createPublicKey({ key: Buffer.concat([X25519_SPKI_HEAD, recipient]), format: "der", type: "spki" });
  return (fileKey) => {
    const { privateKey, publicKey } = generateKeyPairSync("x25519");
    const share = publicKey.export({ format: "der", type: "spki" }).subarray(X25519_SPKI_HEAD.length);
    const shared = diffieHellman({ privateKey, publicKey: peer });
    const key = new Uint8Array(hkdfSync("sha256", shared, concat(share, recipient), X25519_INFO, 32));
    const cipher = createCipheriv("chacha20-poly1305", key, new Uint8Array(12), { authTagLength: 16 });
    const body = concat(cipher.update(fileKey), cipher.final(), cipher.getAuthTag());
    for (const bytes of [shared, key]) bytes.fill(0);
    return { args: ["X25519", encodeUnpadded(share)], body };
  };
}

function wrapForTag(recipient: TagRecipient): Wrap {
  const { stanza, info, kem } = TAG_KINDS[recipient.kind];
  const { p256 } = recipient;
  // Looked up here, so that an older Node loads the rest and says what is wrong.
  if (recipient.kind === "tagpq" && crypto.encapsulate === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", `Node.js ${process.versions.node} has no ML-KEM`, {
      hint: "Node.js 24.7 or newer is needed; in a checkout 'npm start -- lock …' brings its own",
    });
  }
  const mlkem =
    recipient.kind === "tag"
      ? undefined
      : createPublicKey({ key: Buffer.concat([MLKEM_SPKI_HEAD, recipient.mlkem]), format: "der", type: "spki" });
  return (fileKey) => {
    const ephemeral = createECDH("prime256v1");
    const point = new Uint8Array(ephemeral.generateKeys());
    const x = ephemeral.computeSecret(p256);
    const quantum = mlkem && crypto.encapsulate(mlkem);
    const encapsulated = quantum === undefined ? point : concat(quantum.ciphertext, point);
    using shared =
      quantum === undefined ? p256SharedSecret(x, point, p256) : hybridSharedSecret(quantum.sharedKey, x, point, p256);
    for (const bytes of [x, quantum?.sharedKey]) bytes?.fill(0);
    const body = sealMessage(kem, shared, new TextEncoder().encode(info), fileKey);
    const tag = stanzaTag(recipient.kind, encapsulated, p256);
    return { args: [stanza, encodeUnpadded(tag), encodeUnpadded(encapsulated)], body };
  };
}
