/** Extended keys of secp256k1 as text, `xpub…` and `xprv…` (BIP32, "Serialization format"; main network only). */

import { createHash } from "node:crypto";
import { createBase58check } from "@scure/base";
import { concat, equal } from "../../bytes/bytes.ts";
import { OutOfBytes, Reader } from "../../bytes/reader.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { schemeOf } from "./derive.ts";
import { ser32 } from "./hash.ts";
import type { WalletNode } from "./node.ts";
import { formatPath, HARDENED, parsePath } from "./path.ts";

const base58check = createBase58check((data: Uint8Array) => new Uint8Array(createHash("sha256").update(data).digest()));
const VERSIONS = { public: 0x0488b21e, private: 0x0488ade4 } as const;
const LONGEST_TEXT = 120;

/**
 * What another wallet needs to watch this node and what is below it.
 *
 * @returns `xpub…`; the private part is never written
 * @throws ThornkeyError `NOT_SUPPORTED` for other curves, and for a node made from parts, whose parent is not known
 */
export function extendedPublicKey(node: WalletNode): string {
  if (node.curve !== "secp256k1") throw new ThornkeyError("NOT_SUPPORTED", "only secp256k1 has extended keys as text");
  if (node.parentFingerprint === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", "the parent of this node is not known");
  }
  return base58check.encode(
    concat(
      ser32(VERSIONS.public),
      Uint8Array.of(node.depth),
      node.parentFingerprint,
      ser32(lastIndexOf(node.path)),
      node.chainCode,
      schemeOf(node.curve, node.variant).compressed(node.publicKey),
    ),
  );
}

/**
 * @param text `xpub…`, or `xprv…`: a private key that is a JavaScript string already where it came from
 * @param path where the node is in its tree. The text tells only its depth and last step, which must agree
 * @returns a node; without a private part when the text has none
 * @throws ThornkeyError `MALFORMED`
 */
export function readExtendedKey(text: string, path: string): WalletNode {
  const steps = parsePath(path);
  const bytes = decode(text);
  try {
    const reader = new Reader(bytes);
    const version = reader.u32be();
    const depth = reader.u8();
    const parentFingerprint = new Uint8Array(reader.take(4));
    const index = reader.u32be();
    const chainCode = new Uint8Array(reader.take(32));
    const key = reader.take(33);
    const orphan = equal(parentFingerprint, new Uint8Array(4));
    if (reader.remaining > 0 || (depth === 0) !== orphan || (depth === 0 && index !== 0)) throw malformed();
    if (depth !== steps.length || index !== lastIndexOf(path)) {
      throw new ThornkeyError("MALFORMED", "the extended key is not at this path");
    }
    const parts = {
      ...keyIn(version, key),
      curve: "secp256k1",
      variant: "",
      depth,
      parentFingerprint,
      chainCode,
    } as const;
    return { ...parts, path: formatPath(steps) };
  } catch (error) {
    throw error instanceof OutOfBytes ? malformed() : error;
  } finally {
    bytes.fill(0);
  }
}

function keyIn(version: number, key: Uint8Array): Pick<WalletNode, "publicKey" | "secret"> {
  const scheme = schemeOf("secp256k1", "");
  if (version === VERSIONS.public) return { publicKey: scheme.readPublicKey(key), secret: undefined };
  if (version !== VERSIONS.private || key[0] !== 0) throw malformed();
  const secret = key.slice(1);
  try {
    return { publicKey: scheme.publicKeyOf(secret), secret: new Secret(secret) };
  } catch {
    throw malformed();
  }
}

/** With the highest bit when it is hardened; 0 for the master. */
function lastIndexOf(path: string): number {
  const last = parsePath(path).at(-1);
  return last === undefined ? 0 : last.index + (last.hardened ? HARDENED : 0);
}

function decode(text: string): Uint8Array {
  if (text.length > LONGEST_TEXT) throw malformed();
  try {
    return base58check.decode(text);
  } catch {
    throw malformed();
  }
}

function malformed(): ThornkeyError {
  return new ThornkeyError("MALFORMED", "not an extended key of BIP32");
}
