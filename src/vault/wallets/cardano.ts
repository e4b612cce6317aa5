/**
 * BIP32-Ed25519 as Cardano has it: D. Khovratovich and J. Law, "BIP32-Ed25519: Hierarchical Deterministic Keys over a
 * Non-linear Keyspace" (2017), its master from CIP-3, Icarus.
 *
 * The private key is an extended one, kL and kR, of which OpenSSL knows nothing. So here, and only here in the wallets,
 * private numbers become JavaScript big integers when a public key is made or a signature: they cannot be zeroed, and
 * their arithmetic does not take the same time for every value (SECURITY.md). Children are derived on bytes.
 */
import { createHash } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { bytesToNumberLE, numberToBytesLE } from "@noble/curves/utils.js";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { hmacSha512, ser32 } from "./hash.ts";
import type { Scheme, WalletNode } from "./node.ts";
import { HARDENED } from "./path.ts";
import { addLittleEndian } from "./scalar.ts";

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;

/** First byte of what is hashed: for the key, and for the chain code. */
const TAGS = { hardened: [0, 1], plain: [2, 3] } as const;
/** Bytes of zL: so few that kL stays below 2^255 at every depth there is. */
const LEFT_BYTES = 28;

export const cardanoScheme: Scheme = {
  // What PBKDF2 of Icarus gives (seed.ts): kL, kR and chain code, not yet clamped.
  seedBytes: [96, 96],
  hardenedOnly: false,

  master(seed) {
    const secret = seed.slice(0, 64);
    secret[0] = (secret[0] ?? 0) & 0b1111_1000;
    secret[31] = ((secret[31] ?? 0) & 0b0001_1111) | 0b0100_0000;
    return { secret, chainCode: seed.slice(64) };
  },

  publicKeyOf: (secret) => Point.BASE.multiply(bytesToNumberLE(secret.subarray(0, 32)) % ORDER).toBytes(),

  child({ secret, publicKey, chainCode }, index) {
    const hardened = index >= HARDENED;
    const [keyTag, chainTag] = hardened ? TAGS.hardened : TAGS.plain;
    const parent = hardened ? secret : publicKey;
    const z = hmacSha512(chainCode, Uint8Array.of(keyTag), parent, littleEndian(index));
    const chain = hmacSha512(chainCode, Uint8Array.of(chainTag), parent, littleEndian(index));
    const left = addLittleEndian(secret.subarray(0, 32), z.subarray(0, LEFT_BYTES), 8);
    const right = addLittleEndian(secret.subarray(32), z.subarray(32));
    const child = { secret: concat(left, right), chainCode: chain.slice(32) };
    for (const bytes of [z, chain, left, right]) bytes.fill(0);
    return child;
  },

  publicChild({ publicKey, chainCode }, index) {
    const [keyTag, chainTag] = TAGS.plain;
    const z = hmacSha512(chainCode, Uint8Array.of(keyTag), publicKey, littleEndian(index));
    const chain = hmacSha512(chainCode, Uint8Array.of(chainTag), publicKey, littleEndian(index));
    const step = Point.BASE.multiplyUnsafe(8n * bytesToNumberLE(z.subarray(0, LEFT_BYTES)));
    const sum = Point.fromBytes(publicKey).add(step);
    if (sum.is0()) throw new ThornkeyError("FAILED", "there is no such child key; take the next index");
    return { publicKey: sum.toBytes(), chainCode: chain.slice(32) };
  },

  readPublicKey(bytes) {
    try {
      const point = Point.fromBytes(bytes);
      if (point.isSmallOrder()) throw malformed();
      return new Uint8Array(bytes);
    } catch {
      throw malformed();
    }
  },

  compressed: (publicKey) => concat(Uint8Array.of(0), publicKey),
};

/**
 * Ed25519 (RFC 8032) with an extended key: what `kL` and `kR` are hashed from there, they are here.
 *
 * @param message of any length; not hashed before
 * @returns 64 bytes, that every Ed25519 verifies
 * @throws ThornkeyError `NOT_SUPPORTED` when the node is not of the variant cardano, or can only watch
 */
export function signCardano(node: WalletNode, message: Uint8Array): Uint8Array {
  if (node.variant !== "cardano" || node.secret === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", "this wallet key cannot sign as Cardano does");
  }
  return node.secret.use((secret) => {
    const nonce = numberOf(secret.subarray(32), message);
    const commitment = Point.BASE.multiply(nonce).toBytes();
    const challenge = numberOf(commitment, node.publicKey, message);
    const answer = (nonce + challenge * bytesToNumberLE(secret.subarray(0, 32))) % ORDER;
    return concat(commitment, numberToBytesLE(answer, 32));
  });
}

/** SHA-512 over the parts, as a number below the order. */
function numberOf(...parts: readonly Uint8Array[]): bigint {
  const hash = createHash("sha512");
  for (const part of parts) hash.update(part);
  const digest = hash.digest();
  const number = bytesToNumberLE(new Uint8Array(digest.buffer, digest.byteOffset, digest.length)) % ORDER;
  digest.fill(0);
  return number;
}

function littleEndian(index: number): Uint8Array {
  return ser32(index).reverse();
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not an Ed25519 public key");
}
