/** Messages, digests and signatures in the forms of the Zymkey API. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { DIGESTS, type Digest, factsOf, type KeyType } from "../../operations/key-types.ts";
import { type PublicKey, pointIn } from "./slots.ts";

/** A running hash, as `createHash` makes them. */
export interface RunningHash {
  update(data: Uint8Array): unknown;
  digest(): Uint8Array;
}

/** What is signed or checked: a message, or a digest of one. */
export interface Signable {
  /** The digest; without one the message. */
  readonly data: Uint8Array;
  readonly digest: Digest | undefined;
  /** What was hashed, when it is known and short enough to be sent. */
  readonly message?: Uint8Array | undefined;
}

/** Longer messages are hashed here, and only their digest goes to the vault; in bytes. */
const SMALL = 32_768;

const ENCODINGS: { readonly [name: string]: BufferEncoding } = {
  "utf-8": "utf8",
  utf8: "utf8",
  ascii: "latin1",
  latin1: "latin1",
  "latin-1": "latin1",
  "iso-8859-1": "latin1",
  "utf-16le": "utf16le",
  utf16le: "utf16le",
};

/**
 * @param source bytes as they are; text is encoded
 * @throws ThornkeyError `USAGE` for an encoding that is not known, or that the text has no bytes in
 */
export function bytesOf(source: Uint8Array | string, encoding: string): Uint8Array {
  if (source instanceof Uint8Array) return source;
  if (typeof source !== "string") throw new ThornkeyError("USAGE", "what is signed is bytes or text");
  const name = encoding.toLowerCase();
  const known = Object.hasOwn(ENCODINGS, name) ? ENCODINGS[name] : undefined;
  if (known === undefined) throw new ThornkeyError("USAGE", `the encoding '${encoding.slice(0, 40)}' is not known`);
  const bytes = new Uint8Array(Buffer.from(source, known));
  const whole =
    Buffer.from(bytes).toString(known) === source && !(name === "ascii" && bytes.some((byte) => byte > 127));
  if (!whole) throw new ThornkeyError("USAGE", `the text cannot be written in ${encoding}`);
  return bytes;
}

/**
 * @param digest how the message is hashed: a name, or a hash that goes on with the message; undefined is SHA-256
 * @returns what goes to the key: of Ed25519 without a named digest the message itself
 * @throws ThornkeyError `USAGE` for a digest that keys do not sign
 */
export function hashed(type: KeyType, message: Uint8Array, digest: string | RunningHash | undefined): Signable {
  if (digest === undefined && factsOf(type).family === "edwards") return { data: message, digest: undefined };
  if (typeof digest === "object" && digest !== null) {
    inUse(() => digest.update(message));
    return finished(digest);
  }
  const name = digestNamed(digest ?? "sha256");
  const data = new Uint8Array(createHash(name).update(message).digest());
  return { data, digest: name, message: message.length <= SMALL ? message : undefined };
}

/** @param digest a digest, or a hash that has taken its message. @throws ThornkeyError `USAGE` */
export function finished(digest: Uint8Array | Pick<RunningHash, "digest">): Signable {
  const data = digest instanceof Uint8Array ? digest : new Uint8Array(inUse(() => digest.digest()));
  const name = DIGEST_NAMES.find((one) => DIGESTS[one] === data.length);
  if (name === undefined) {
    throw new ThornkeyError("USAGE", `a digest of ${data.length} bytes is none of those that keys sign`, {
      hint: `they sign ${DIGEST_NAMES.map((one) => `${one} (${DIGESTS[one]} bytes)`).join(", ")}`,
    });
  }
  return { data, digest: name };
}

/** A hash gives its digest once. */
function inUse<T>(act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw new ThornkeyError("USAGE", "this hash has given its digest already", { cause });
  }
}

const DIGEST_NAMES = Object.keys(DIGESTS) as Digest[];

function digestNamed(name: string): Digest {
  const plain = name.toLowerCase().replace(/^sha-/, "sha");
  const known = DIGEST_NAMES.find((one) => one === plain);
  if (known !== undefined) return known;
  throw new ThornkeyError("USAGE", `keys do not sign the digest '${name.slice(0, 40)}'`, {
    hint: `they sign ${DIGEST_NAMES.join(", ")}`,
  });
}

/** What goes to the vault. Ed25519 has no digests, and takes one for a message. */
export function sent(type: KeyType, { data, digest, message }: Signable) {
  if (digest === undefined || factsOf(type).family === "edwards") return { data, spec: {} };
  return message === undefined ? { data, spec: { digest, digested: true } } : { data: message, spec: { digest } };
}

/** Loaded when they are needed: that takes longer than all the rest of this API. */
const CURVES = {
  p256: async () => (await import("@noble/curves/nist.js")).p256,
  secp256k1: async () => (await import("@noble/curves/secp256k1.js")).secp256k1,
} as const;

async function curveOf(type: KeyType) {
  return type === "p256" || type === "secp256k1" ? CURVES[type]() : undefined;
}

/**
 * Which of the public keys that an ECDSA signature fits is the signer's (SEC 1, 4.1.6): the parity of R's y, and 2 more
 * when R's x is not below the order, which nobody will ever see.
 *
 * @param signature r then s
 * @throws ThornkeyError `USAGE` for a key that has none; `FAILED` when the signature is not of this key
 */
export async function recoveryIdOf(key: PublicKey, digest: Uint8Array, signature: Uint8Array): Promise<number> {
  const curve = await curveOf(key.type);
  if (curve === undefined) throw new ThornkeyError("USAGE", `signatures of ${key.type} have no recovery id`);
  const point = pointIn(key);
  const parsed = curve.Signature.fromBytes(signature, "compact");
  for (const id of [0, 1, 2, 3]) {
    try {
      const found = parsed.addRecoveryBit(id).recoverPublicKey(digest).toBytes(false);
      if (equal(found.subarray(1), point)) return id;
    } catch {
      // No point has this x.
    }
  }
  throw new ThornkeyError("FAILED", "the signature is not one of this key");
}

/** Checks a signature with a public key that is not the vault's. @returns false for whatever is wrong with it */
export async function verifyWith(
  { type, spki }: PublicKey,
  signable: Signable,
  signature: Uint8Array,
): Promise<boolean> {
  const curve = await curveOf(type);
  if (curve !== undefined) {
    if (signature.length !== 64) return false;
    const point = new Uint8Array([4, ...pointIn({ type, spki })]);
    try {
      // As FIPS 186-5 has it: a high s is right.
      return curve.verify(signature, signable.data, point, { prehash: false, lowS: false, format: "compact" });
    } catch {
      return false;
    }
  }
  if (type !== "ed25519") throw new ThornkeyError("USAGE", `a key of type ${type} checks no signatures`);
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  return verify(null, signable.data, publicKey, signature);
}
