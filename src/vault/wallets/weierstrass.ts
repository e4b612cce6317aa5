/**
 * Derivation on secp256k1 (BIP32) and P-256 (SLIP-10). The two differ in the constants, and where a hash gives no key:
 * SLIP-10 hashes again, BIP32 gives up, but on secp256k1 nobody will ever see it (2^-127).
 *
 * Private keys stay in byte arrays: their sums are in scalar.ts, and OpenSSL makes the public key. Only public points are
 * added with big integers.
 */
import { createECDH, ECDH } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { concat, fromHex, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { factsOf } from "../../operations/key-types.ts";
import { hmacSha512, ser32 } from "./hash.ts";
import type { PrivatePart, PublicPart, Scheme } from "./node.ts";
import { HARDENED } from "./path.ts";
import { addModulo, isBelow, isScalar, isZero } from "./scalar.ts";

/** n, and the key of the hash that makes the master (SLIP-10, "Master key generation"). */
const CURVES = {
  secp256k1: {
    order: fromHex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
    seedKey: Buffer.from("Bitcoin seed"),
    Point: secp256k1.Point,
  },
  p256: {
    order: fromHex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    seedKey: Buffer.from("Nist256p1 seed"),
    Point: p256.Point,
  },
} as const;

const ZERO = Uint8Array.of(0);
/** In front of what is hashed again (SLIP-10). */
const AGAIN = Uint8Array.of(1);
const UNCOMPRESSED = Uint8Array.of(4);

export function weierstrass(type: keyof typeof CURVES): Scheme {
  const { order, seedKey, Point } = CURVES[type];
  const { curve = "" } = factsOf(type);

  return {
    seedBytes: [16, 64],
    hardenedOnly: false,

    master(seed) {
      let hashed = hmacSha512(seedKey, seed);
      // SLIP-10 test "seed retry": on P-256 one of 2^32 seeds comes here.
      while (!isScalar(hashed.subarray(0, 32), order)) {
        const again = hmacSha512(seedKey, hashed);
        hashed.fill(0);
        hashed = again;
      }
      return takeApart(hashed, hashed.slice(0, 32));
    },

    publicKeyOf(secret) {
      const ecdh = createECDH(curve);
      ecdh.setPrivateKey(secret);
      return new Uint8Array(ecdh.getPublicKey()).slice(1);
    },

    child(parent, index) {
      const serial = ser32(index);
      const first = index >= HARDENED ? [ZERO, parent.secret] : [compressed(parent.publicKey)];
      return firstKey(parent.chainCode, [...first, serial], serial, (left) => {
        const secret = addModulo(left, parent.secret, order);
        return isZero(secret) ? undefined : secret;
      });
    },

    publicChild(parent, index): PublicPart {
      const serial = ser32(index);
      const { secret: publicKey, chainCode } = firstKey(
        parent.chainCode,
        [compressed(parent.publicKey), serial],
        serial,
        (left) => {
          const point = Point.fromBytes(compressed(parent.publicKey));
          const sum = point.add(Point.BASE.multiplyUnsafe(BigInt(`0x${toHex(left)}`)));
          return sum.is0() ? undefined : sum.toBytes(false).slice(1);
        },
      );
      return { publicKey, chainCode };
    },

    readPublicKey(bytes) {
      const encoded = bytes.length === 64 ? concat(UNCOMPRESSED, bytes) : bytes;
      // Hybrid and other forms that OpenSSL knows are none of ours.
      const compact = encoded.length === 33 && (encoded[0] === 2 || encoded[0] === 3);
      if (!compact && !(encoded.length === 65 && encoded[0] === 4)) throw malformed();
      try {
        const point = ECDH.convertKey(encoded, curve, undefined, undefined, "uncompressed");
        return new Uint8Array(point as Buffer).slice(1);
      } catch {
        throw malformed();
      }
    },

    compressed,
  };

  /** Hashes until there is a key. @param keyOf makes it of the left half, which is below n; undefined: there is none */
  function firstKey(
    chainCode: Uint8Array,
    first: readonly Uint8Array[],
    serial: Uint8Array,
    keyOf: (left: Uint8Array) => Uint8Array | undefined,
  ): PrivatePart {
    let hashed = hmacSha512(chainCode, ...first);
    for (;;) {
      const left = hashed.subarray(0, 32);
      const key = isBelow(left, order) ? keyOf(left) : undefined;
      if (key !== undefined) return takeApart(hashed, key);
      const again = hmacSha512(chainCode, AGAIN, hashed.subarray(32), serial);
      hashed.fill(0);
      hashed = again;
    }
  }
}

/** Zeroes the hash, whose right half is the chain code. */
function takeApart(hashed: Uint8Array, secret: Uint8Array): PrivatePart {
  const chainCode = hashed.slice(32);
  hashed.fill(0);
  return { secret, chainCode };
}

function compressed(publicKey: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(2 + ((publicKey[63] ?? 0) & 1)), publicKey.subarray(0, 32));
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not a public key of this curve");
}
