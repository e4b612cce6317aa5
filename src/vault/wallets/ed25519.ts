/** Derivation on Ed25519 (SLIP-10): only hardened children, each a seed of RFC 8032. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { concat } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { pointOf } from "../../operations/public-keys.ts";
import { pointPrivateKeyOf } from "../material/pkcs8.ts";
import { hmacSha512, ser32 } from "./hash.ts";
import type { PrivatePart, Scheme } from "./node.ts";

const SEED_KEY = Buffer.from("ed25519 seed");
const ZERO = Uint8Array.of(0);

export const ed25519Scheme: Scheme = {
  seedBytes: [16, 64],
  hardenedOnly: true,

  master: (seed) => takeApart(hmacSha512(SEED_KEY, seed)),

  publicKeyOf(secret) {
    const der = pointPrivateKeyOf("ed25519", secret);
    try {
      const key = createPrivateKey({
        key: Buffer.from(der.buffer, der.byteOffset, der.length),
        format: "der",
        type: "pkcs8",
      });
      const spki = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
      return new Uint8Array(pointOf("ed25519", spki) ?? []);
    } finally {
      der.fill(0);
    }
  },

  child: ({ secret, chainCode }, index) => takeApart(hmacSha512(chainCode, ZERO, secret, ser32(index))),

  publicChild() {
    throw new ThornkeyError("NOT_SUPPORTED", "Ed25519 has no children that can be derived from a public key");
  },

  readPublicKey(bytes) {
    if (bytes.length !== 32) throw new ThornkeyError("MALFORMED", "an Ed25519 public key has 32 bytes");
    return new Uint8Array(bytes);
  },

  compressed: (publicKey) => concat(ZERO, publicKey),
};

function takeApart(hashed: Uint8Array): PrivatePart {
  const parts = { secret: hashed.slice(0, 32), chainCode: hashed.slice(32) };
  hashed.fill(0);
  return parts;
}
