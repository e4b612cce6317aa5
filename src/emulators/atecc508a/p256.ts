import { createECDH } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import { concat, toHex } from "../../bytes/bytes.ts";

export interface KeyPair {
  /** 32 bytes, 1 to n-1. */
  readonly scalar: Uint8Array;
  /** X ‖ Y, 64 bytes. */
  readonly point: Uint8Array;
}

/** A key pair from the operating system's randomness; native, as signing needs one each time. */
export function freshKeyPair(): KeyPair {
  const point = generator.generateKeys().subarray(1);
  return { scalar: padded(generator.getPrivateKey()), point };
}

/** A key pair from given randomness, for runs that can be repeated. */
export function keyPairFrom(random: (length: number) => Uint8Array): KeyPair {
  const scalar = bytesOf((integer(random(32)) % (N - 1n)) + 1n);
  return { scalar, point: publicKeyOf(scalar) };
}

export function isScalar(bytes: Uint8Array): boolean {
  const value = integer(bytes);
  return value > 0n && value < N;
}

/** @returns X ‖ Y */
export function publicKeyOf(scalar: Uint8Array): Uint8Array {
  const ecdh = createECDH(CURVE);
  ecdh.setPrivateKey(scalar);
  return ecdh.getPublicKey().subarray(1);
}

/** @param point X ‖ Y */
export function isOnCurve(point: Uint8Array): boolean {
  try {
    p256.Point.fromBytes(uncompressed(point));
    return true;
  } catch {
    return false;
  }
}

/** @returns the X coordinate of scalar times point, 32 bytes; undefined when the point is not on the curve */
export function sharedSecret(scalar: Uint8Array, point: Uint8Array): Uint8Array | undefined {
  if (!isOnCurve(point)) return undefined;
  const ecdh = createECDH(CURVE);
  ecdh.setPrivateKey(scalar);
  return padded(ecdh.computeSecret(uncompressed(point)));
}

/**
 * ECDSA over a digest, which node:crypto cannot do.
 *
 * @param nonce makes k and k times G
 * @returns R ‖ S, 64 bytes
 */
export function sign(digest: Uint8Array, scalar: Uint8Array, nonce: () => KeyPair): Uint8Array {
  for (;;) {
    const k = nonce();
    const r = integer(k.point.subarray(0, 32)) % N;
    const s = F.mul(F.inv(integer(k.scalar)), F.create(integer(digest) + r * integer(scalar)));
    if (r !== 0n && s !== 0n) return concat(bytesOf(r), bytesOf(s));
  }
}

/**
 * @param signature R ‖ S
 * @param point X ‖ Y, on the curve
 */
export function verify(digest: Uint8Array, signature: Uint8Array, point: Uint8Array): boolean {
  try {
    return p256.verify(signature, digest, uncompressed(point), { prehash: false, lowS: false });
  } catch {
    return false;
  }
}

const CURVE = "prime256v1";
const F = p256.Point.Fn;
const N = F.ORDER;
const generator = createECDH(CURVE);

function uncompressed(point: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(4), point);
}

function integer(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes)}`);
}

function bytesOf(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, "0"), "hex"));
}

function padded(bytes: Uint8Array): Uint8Array {
  return bytes.length === 32 ? bytes : concat(new Uint8Array(32 - bytes.length), bytes);
}
