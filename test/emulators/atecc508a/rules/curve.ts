import { createECDH } from "node:crypto";
import { p256 } from "@noble/curves/nist.js";
import { concat, toHex } from "../../../../src/bytes/bytes.ts";
import { zeros } from "./digests.ts";

/** P-256 as the rules need it. Signing and verifying is remembered: many cases use the same few messages. */

export const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const FIELD = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

export const bigint = (bytes: Uint8Array): bigint => BigInt(`0x0${toHex(bytes)}`);

export function scalarBytes(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, "0"), "hex"));
}

export function isScalar(bytes: Uint8Array): boolean {
  const value = bigint(bytes);
  return value > 0n && value < ORDER;
}

/** @param point X ‖ Y */
export function onCurve(point: Uint8Array): boolean {
  const [x, y] = [bigint(point.subarray(0, 32)), bigint(point.subarray(32, 64))];
  return x < FIELD && y < FIELD && (y * y - (x * x * x - 3n * x + B)) % FIELD === 0n;
}

export const publicKeyOf = remember((scalar: Uint8Array): Uint8Array => {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(scalar);
  return new Uint8Array(ecdh.getPublicKey()).slice(1);
});

export const sharedSecret = remember((scalar: Uint8Array, point: Uint8Array): Uint8Array => {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(scalar);
  return new Uint8Array(ecdh.computeSecret(concat(Uint8Array.of(4), point)));
});

export const sign = remember(
  (digest: Uint8Array, scalar: Uint8Array): Uint8Array => p256.sign(digest, scalar, { prehash: false, lowS: false }),
);

export const verifies = remember((signature: Uint8Array, digest: Uint8Array, point: Uint8Array): boolean => {
  if (!isScalar(signature.subarray(0, 32)) || !isScalar(signature.subarray(32, 64))) return false;
  return p256.verify(signature, digest, concat(Uint8Array.of(4), point), { prehash: false, lowS: false });
});

/** X ‖ Y of a public key in a 72-byte slot: 4 bytes before each coordinate. */
export const publicKeyIn = (slot: Uint8Array): Uint8Array => concat(slot.subarray(4, 36), slot.subarray(40, 72));

/** @param nibble 5 valid, a invalid */
export function publicKeySlot(point: Uint8Array, nibble: number): Uint8Array {
  const slot = concat(zeros(4), point.subarray(0, 32), zeros(4), point.subarray(32));
  slot[0] = nibble << 4;
  return slot;
}

/** The scalar of a private key in a slot: 4 bytes, then the number. */
export const scalarIn = (slot: Uint8Array): Uint8Array => slot.slice(4, 36);

function remember<Arguments extends readonly Uint8Array[], Result>(
  compute: (...list: Arguments) => Result,
): (...list: Arguments) => Result {
  const known = new Map<string, Result>();
  return (...list) => {
    const name = list.map(toHex).join(" ");
    const before = known.get(name);
    if (before !== undefined) return before;
    const result = compute(...list);
    known.set(name, result);
    return result;
  };
}
