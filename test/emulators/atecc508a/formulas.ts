import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { type Bench, H, hex, pattern, SN, zeros } from "./lab.ts";

/*
 * Expected values are computed here from the formulas of the data sheet, with node:crypto and byte lists, and not with
 * the emulator's own digest code.
 */

export const otherKey = pattern(32, 0x51);
export const challenge = pattern(32, 0xc3);
export const otp = pattern(64, 0x05);

export function inc(mode: number): number[] {
  const a = mode & 0x10 ? [...otp.subarray(0, 11)] : mode & 0x20 ? [...otp.subarray(0, 8), 0, 0, 0] : Array(11).fill(0);
  const full = (mode & 0x40) !== 0;
  return [
    ...a,
    SN[8]!,
    ...(full ? SN.subarray(4, 8) : [0, 0, 0, 0]),
    SN[0]!,
    SN[1]!,
    ...(full ? SN.subarray(2, 4) : [0, 0]),
  ];
}

export const xor = (a: Uint8Array, b: Uint8Array) => a.map((byte, i) => byte ^ (b[i] ?? 0));

/** What is in TempKey, shown by a MAC of it. */
export function tempKeyShown(chip: Bench, sourceFlag: 0 | 1): string {
  const mode = 0x02 | (sourceFlag << 2);
  return hex(chip.command(0x08, mode, 0, zeros(32)));
}

export function macOf(tempKey: Uint8Array, sourceFlag: 0 | 1): string {
  const mode = 0x02 | (sourceFlag << 2);
  return hex(H(tempKey, zeros(32), [0x08, mode, 0, 0], inc(mode)));
}

/** A P-256 key pair of node:crypto as bytes. */
export function keyPair() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = privateKey.export({ format: "jwk" });
  const bytes = (text: string | undefined) => Buffer.from(text ?? "", "base64url");
  return { privateKey, publicKey, d: bytes(jwk.d), x: bytes(jwk.x), y: bytes(jwk.y) };
}

export function publicKeyOf(point: Uint8Array) {
  const part = (from: number) => Buffer.from(point.subarray(from, from + 32)).toString("base64url");
  return createPublicKey({ key: { kty: "EC", crv: "P-256", x: part(0), y: part(32) }, format: "jwk" });
}

/** SHA-256 of the message is inside. */
export function isSignature(message: Uint8Array, signature: Uint8Array, point: Uint8Array): boolean {
  return verify("sha256", message, { key: publicKeyOf(point), dsaEncoding: "ieee-p1363" }, signature);
}

export const publicSlot = (x: Uint8Array, y: Uint8Array, nibble = 0) =>
  Buffer.concat([Buffer.from([nibble << 4, 0, 0, 0]), x, zeros(4), y]);
