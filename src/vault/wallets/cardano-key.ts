import { Secret } from "../../bytes/secret.ts";
import type { LoadedKey } from "../material/material.ts";
import { checkSignSpec, notSupported } from "../material/settings.ts";
import type { WalletNode } from "./node.ts";

/**
 * A key of the variant cardano, ready for use: it signs, and does nothing else.
 *
 * @param publicKey 32 bytes
 * @param secret kL and kR; it stays the caller's
 */
export function loadCardanoKey(publicKey: Uint8Array, secret: Secret): LoadedKey {
  const own = new Secret(secret.use((bytes) => new Uint8Array(bytes)));
  const place = { depth: 0, path: "m", chainCode: new Uint8Array(32), parentFingerprint: undefined };
  const node: WalletNode = { ...place, curve: "ed25519", variant: "cardano", publicKey, secret: own };
  const refuse = (what: string) => (): never => {
    throw notSupported("ed25519", what);
  };
  return {
    type: "ed25519",
    async sign(spec, data) {
      checkSignSpec("ed25519", spec, data);
      // Its arithmetic is loaded with the first signature: most vaults never make one.
      const { signCardano } = await import("./cardano.ts");
      return signCardano(node, data);
    },
    agree: refuse("agreements"),
    encrypt: refuse("encryption"),
    decrypt: refuse("decryption"),
    mac: refuse("MACs"),
    derive: refuse("derivation"),
    export: refuse("export"),
    close: () => own.destroy(),
  };
}
