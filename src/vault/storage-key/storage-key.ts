/**
 * The key that locked objects are encrypted to: P-256 and ML-KEM-768, for the age recipients `p256tag` and
 * `mlkem768p256tag` (C2SP, age specification). Who has a quantum computer still has ML-KEM before him; who breaks ML-KEM
 * has P-256.
 */
import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  type ECDH,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { equal } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { type StoragePublicKey, stanzaTag, TAG_KINDS } from "../../operations/age-recipients.ts";
import { hybridSharedSecret, openMessage, p256SharedSecret } from "../../operations/hpke.ts";

export type { StoragePublicKey } from "../../operations/age-recipients.ts";

/** A stanza of an age header; the type is the first of its arguments. */
export interface StorageStanza {
  readonly args: readonly string[];
  readonly body: Uint8Array;
}

export interface LoadedStorageKey {
  readonly publicKey: StoragePublicKey;
  /**
   * @returns the file key, 16 bytes, or undefined when no stanza is for this key
   * @throws ThornkeyError `MALFORMED` for a stanza of a known type with a wrong shape
   */
  open(stanzas: readonly StorageStanza[]): Secret | undefined;
  close(): void;
}

const VERSION = 1;
const SCALAR_BYTES = 32;
const POINT_BYTES = 65;
const MLKEM_PUBLIC_BYTES = 1184;
const MLKEM_CIPHERTEXT_BYTES = 1088;
/** SubjectPublicKeyInfo of ML-KEM-768 before the key itself (draft-ietf-lamps-kyber-certificates). */
const MLKEM_SPKI_HEAD_BYTES = 22;
const FILE_KEY_BYTES = 16;
/** What tells a recipient which stanza is for him. */
const TAG_BYTES = 4;
const AUTHENTICATION_BYTES = 16;

/**
 * @returns a new pair. The secret: version, 1 byte | P-256 scalar, 32 bytes | ML-KEM-768 private key, PKCS#8 as OpenSSL
 *   writes it (draft-ietf-lamps-kyber-certificates: seed and expanded key)
 */
export async function generateStorageKey(): Promise<{ secret: Secret; publicKey: StoragePublicKey }> {
  const ecdh = createECDH("prime256v1");
  ecdh.generateKeys();
  const scalar = ecdh.getPrivateKey();
  const { privateKey, publicKey } = generateKeyPairSync("ml-kem-768" as "x25519");
  const pkcs8 = privateKey.export({ format: "der", type: "pkcs8" });
  const blob = new Uint8Array(1 + SCALAR_BYTES + pkcs8.length);
  blob[0] = VERSION;
  blob.set(scalar, 1 + SCALAR_BYTES - scalar.length);
  blob.set(pkcs8, 1 + SCALAR_BYTES);
  scalar.fill(0);
  pkcs8.fill(0);
  return {
    secret: new Secret(blob),
    publicKey: { p256: new Uint8Array(ecdh.getPublicKey()), mlkem: rawMlKem(publicKey) },
  };
}

/**
 * @param secret what {@link generateStorageKey} gave; stays the caller's
 * @throws ThornkeyError `MALFORMED`
 */
export function loadStorageKey(secret: Secret): LoadedStorageKey {
  const { ecdh, mlkem } = secret.use(opened);
  const publicKey = { p256: new Uint8Array(ecdh.getPublicKey()), mlkem: rawMlKem(createPublicKey(mlkem)) };
  let kinds: readonly Kind[] | undefined = kindsFor(publicKey, ecdh, mlkem);
  return {
    publicKey,
    open(stanzas) {
      if (kinds === undefined) throw new ThornkeyError("FAILED", "this storage key was closed");
      for (const { args, body } of stanzas) {
        const kind = kinds.find(({ stanza }) => stanza === args[0]);
        if (kind === undefined) continue;
        const [, tag = "", encapsulated = "", ...more] = args;
        const given = base64(tag);
        const share = base64(encapsulated);
        if (
          more.length > 0 ||
          given?.length !== TAG_BYTES ||
          share?.length !== kind.encapsulatedBytes ||
          body.length !== FILE_KEY_BYTES + AUTHENTICATION_BYTES
        ) {
          throw new ThornkeyError("MALFORMED", `a ${kind.stanza} stanza of a wrong shape`);
        }
        if (!equal(given, kind.tagOf(share))) continue;
        using shared = kind.shared(share);
        const fileKey = shared && openMessage(kind.kem, shared, new TextEncoder().encode(kind.info), body);
        // Four bytes of tag fit another's stanza now and then.
        if (fileKey !== undefined) return fileKey;
      }
      return undefined;
    },
    close() {
      // Node frees both private keys with the garbage.
      kinds = undefined;
    },
  };
}

function opened(blob: Uint8Array): { ecdh: ECDH; mlkem: KeyObject } {
  try {
    if (blob[0] !== VERSION) throw new Error("version");
    const ecdh = createECDH("prime256v1");
    ecdh.setPrivateKey(blob.subarray(1, 1 + SCALAR_BYTES));
    const der = Buffer.from(blob.buffer, blob.byteOffset + 1 + SCALAR_BYTES, blob.length - 1 - SCALAR_BYTES);
    return { ecdh, mlkem: createPrivateKey({ key: der, format: "der", type: "pkcs8" }) };
  } catch {
    throw new ThornkeyError("MALFORMED", "this is no storage key");
  }
}

interface Kind {
  readonly stanza: string;
  readonly info: string;
  readonly kem: number;
  readonly encapsulatedBytes: number;
  tagOf(encapsulated: Uint8Array): Uint8Array;
  /** @returns undefined for a point that is none */
  shared(encapsulated: Uint8Array): Secret | undefined;
}

function kindsFor(publicKey: StoragePublicKey, ecdh: ECDH, mlkem: KeyObject): readonly Kind[] {
  const agreed = (point: Uint8Array): Uint8Array | undefined => {
    try {
      // OpenSSL takes other forms of a point as well; in age's they come to another key, and open nothing.
      return ecdh.computeSecret(point);
    } catch {
      return undefined; // not on the curve
    }
  };
  return [
    {
      ...TAG_KINDS.tag,
      encapsulatedBytes: POINT_BYTES,
      tagOf: (point) => stanzaTag("tag", point, publicKey.p256),
      shared(point) {
        const x = agreed(point);
        if (x === undefined) return undefined;
        const shared = p256SharedSecret(x, point, publicKey.p256);
        x.fill(0);
        return shared;
      },
    },
    {
      ...TAG_KINDS.tagpq,
      encapsulatedBytes: MLKEM_CIPHERTEXT_BYTES + POINT_BYTES,
      tagOf: (encapsulated) => stanzaTag("tagpq", encapsulated, publicKey.p256),
      shared(encapsulated) {
        const point = encapsulated.subarray(MLKEM_CIPHERTEXT_BYTES);
        const x = agreed(point);
        if (x === undefined) return undefined;
        const quantum = decapsulate(mlkem, encapsulated.slice(0, MLKEM_CIPHERTEXT_BYTES));
        const shared = hybridSharedSecret(quantum, x, point, publicKey.p256);
        for (const bytes of [quantum, x]) bytes.fill(0);
        return shared;
      },
    },
  ];
}

function rawMlKem(key: KeyObject): Uint8Array {
  const spki = key.export({ format: "der", type: "spki" });
  if (spki.length !== MLKEM_SPKI_HEAD_BYTES + MLKEM_PUBLIC_BYTES) throw new Error("not an ML-KEM-768 key");
  return new Uint8Array(spki.subarray(MLKEM_SPKI_HEAD_BYTES));
}

/** Base64 without padding, as age writes it. @returns undefined for anything else */
function base64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]*$/.test(text)) return undefined;
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  return Buffer.from(bytes).toString("base64").replaceAll("=", "") === text ? bytes : undefined;
}
