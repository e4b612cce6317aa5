import { createECDH } from "node:crypto";
import { createRequire } from "node:module";
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
  const [x, y] = [integer(point.subarray(0, 32)), integer(point.subarray(32))];
  return point.length === 64 && x < P && y < P && (y * y - (x * x * x - 3n * x + B)) % P === 0n;
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
    const s = (inverse(integer(k.scalar)) * (integer(digest) + r * integer(scalar))) % N;
    if (r !== 0n && s !== 0n) return concat(bytesOf(r), bytesOf(s));
  }
}

/**
 * @param signature R ‖ S
 * @param point X ‖ Y, on the curve
 */
export function verify(digest: Uint8Array, signature: Uint8Array, point: Uint8Array): boolean {
  const { p256 } = curves();
  try {
    return p256.verify(signature, digest, uncompressed(point), { prehash: false, lowS: false });
  } catch {
    return false;
  }
}

const CURVE = "prime256v1";
/** SP 800-186, 3.2.1.3: the field, the curve's b, the order of its generator. */
const P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const generator = createECDH(CURVE);

/** Loaded when it is needed: it takes longer to load than the rest of the emulator. */
function curves(): typeof import("@noble/curves/nist.js") {
  return createRequire(import.meta.url)("@noble/curves/nist.js");
}

/** @param value 1 to N-1. @returns its inverse modulo N, by Euclid's extended algorithm */
function inverse(value: bigint): bigint {
  let [a, b, x, y] = [value, N, 1n, 0n];
  while (b !== 0n) [a, b, x, y] = [b, a % b, y, x - (a / b) * y];
  return ((x % N) + N) % N;
}

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
