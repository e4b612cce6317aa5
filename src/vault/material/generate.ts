import { generateKeyPair, getRandomValues } from "node:crypto";
import { Secret } from "../../bytes/secret.ts";
import { factsOf, type KeyType } from "../../operations/key-types.ts";
import { plain } from "./engine.ts";
import { SYMMETRIC_BYTES } from "./load.ts";
import type { NewMaterial } from "./material.ts";

const DER = {
  publicKeyEncoding: { format: "der", type: "spki" },
  privateKeyEncoding: { format: "der", type: "pkcs8" },
} as const;

/** Makes a key; asymmetric ones in another thread, for RSA takes seconds on a small machine. */
export async function generateMaterial(type: KeyType): Promise<NewMaterial> {
  const { family, bits, curve = "" } = factsOf(type);
  if (family === "symmetric") {
    return { type, secret: new Secret(getRandomValues(new Uint8Array(SYMMETRIC_BYTES))), publicKey: undefined };
  }
  return new Promise((resolve, reject) => {
    const take = (error: Error | null, publicKey: Buffer, privateKey: Buffer) => {
      if (error) reject(error);
      else resolve({ type, secret: new Secret(plain(privateKey)), publicKey: new Uint8Array(publicKey) });
    };
    switch (family) {
      case "rsa":
        return generateKeyPair("rsa", { modulusLength: bits, publicExponent: 65_537, ...DER }, take);
      case "ec":
        return generateKeyPair("ec", { namedCurve: curve, ...DER }, take);
      case "edwards":
        return generateKeyPair("ed25519", DER, take);
      case "montgomery":
        return generateKeyPair("x25519", DER, take);
    }
  });
}
