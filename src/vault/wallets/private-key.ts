/** A wallet key in the form in which the vault keeps private keys. */
import { createPrivateKey } from "node:crypto";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { spkiOf } from "../../operations/public-keys.ts";
import { plain } from "../material/engine.ts";
import type { NewMaterial } from "../material/material.ts";
import { ecPrivateKeyOf, pointPrivateKeyOf } from "../material/pkcs8.ts";
import type { WalletNode } from "./node.ts";

/**
 * @returns PKCS#8 in DER, and the public part as SubjectPublicKeyInfo
 * @throws ThornkeyError `NOT_SUPPORTED` when the node can only watch, and for the variant cardano: an extended key has no
 *   PKCS#8 (`signCardano` signs with it)
 */
export function materialOf(node: WalletNode): NewMaterial {
  const { curve, publicKey, secret } = node;
  if (secret === undefined) throw new ThornkeyError("NOT_SUPPORTED", "a wallet that only watches has no private keys");
  if (node.variant === "cardano") {
    throw new ThornkeyError("NOT_SUPPORTED", "an extended Ed25519 key of Cardano has no PKCS#8 form");
  }
  const pkcs8 = secret.use((bytes) =>
    curve === "ed25519" ? pointPrivateKeyOf(curve, bytes) : ecPkcs8Of(ecPrivateKeyOf(curve, bytes, publicKey)),
  );
  return { type: curve, secret: new Secret(pkcs8), publicKey: spkiOf(curve, publicKey) };
}

/** @param sec1 zeroed here */
function ecPkcs8Of(sec1: Uint8Array): Uint8Array {
  try {
    const key = Buffer.from(sec1.buffer, sec1.byteOffset, sec1.length);
    return plain(createPrivateKey({ key, format: "der", type: "sec1" }).export({ format: "der", type: "pkcs8" }));
  } finally {
    sec1.fill(0);
  }
}
