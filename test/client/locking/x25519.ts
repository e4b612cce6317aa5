/** An age identity of the X25519 kind (C2SP, age specification, "The X25519 recipient type"), for tests only. */
import { createDecipheriv, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from "node:crypto";
import { bech32 } from "@scure/base";
import { concat } from "../../../src/bytes/bytes.ts";
import { Secret } from "../../../src/bytes/secret.ts";
import type { FileKeyOpener } from "../../../src/client/locking/file-key.ts";

const PKCS8_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");
const SPKI_HEAD = Buffer.from("302a300506032b656e032100", "hex");

/** @param identities `AGE-SECRET-KEY-1…` */
export function openerOf(...identities: readonly string[]): FileKeyOpener {
  return async (stanzas) => {
    for (const identity of identities) {
      const privateKey = createPrivateKey({
        key: Buffer.concat([PKCS8_HEAD, bech32.decodeToBytes(identity).bytes]),
        format: "der",
        type: "pkcs8",
      });
      const publicKey = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-32);
      for (const { args, body } of stanzas) {
        if (args[0] !== "X25519") continue;
        const share = Buffer.from(args[1] ?? "", "base64");
        if (args.length !== 2 || share.length !== 32 || share.toString("base64").replaceAll("=", "") !== args[1]) {
          throw new Error("an X25519 stanza of a wrong shape");
        }
        if (body.length !== 32) throw new Error("an X25519 stanza of a wrong shape");
        const peer = createPublicKey({ key: Buffer.concat([SPKI_HEAD, share]), format: "der", type: "spki" });
        const shared = diffieHellman({ privateKey, publicKey: peer });
        const key = hkdfSync("sha256", shared, concat(share, publicKey), "age-encryption.org/v1/X25519", 32);
        const decipher = createDecipheriv("chacha20-poly1305", new Uint8Array(key), new Uint8Array(12), {
          authTagLength: 16,
        });
        decipher.setAuthTag(body.subarray(16));
        const fileKey = new Uint8Array(decipher.update(body.subarray(0, 16)));
        try {
          decipher.final();
          return new Secret(fileKey);
        } catch {
          // for another identity
        }
      }
    }
    return undefined;
  };
}
