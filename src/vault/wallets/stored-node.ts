/** Wallet nodes as the keyring keeps them: a record with a place in its wallet, and a private part where there is one. */
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { pointOf, spkiOf } from "../../operations/public-keys.ts";
import { rawPrivateKeyOf } from "../material/pkcs8.ts";
import type { WalletPlace } from "../records.ts";
import { schemeOf } from "./derive.ts";
import type { WalletNode, WalletVariant } from "./node.ts";
import { parsePath } from "./path.ts";
import { materialOf } from "./private-key.ts";
import { isMaster, type WalletKey } from "./wallet-key.ts";

export interface NodeParts {
  /** undefined when the node can only watch. The caller's, to destroy. */
  readonly secret: Secret | undefined;
  /** SubjectPublicKeyInfo; undefined of a master. */
  readonly publicKey: Uint8Array | undefined;
  readonly wallet: WalletPlace;
}

/** @returns what is kept of a node */
export function partsOf(node: WalletNode, { name, masterId }: Pick<WalletPlace, "name" | "masterId">): NodeParts {
  const { path, variant, chainCode, secret } = node;
  const wallet = { name, path, masterId, variant, chainCode, watchOnly: secret === undefined };
  return {
    secret: secret === undefined ? undefined : privatePartOf(node, secret),
    publicKey: isMaster({ wallet }) ? undefined : spkiOf(node.curve, node.publicKey),
    wallet,
  };
}

/** PKCS#8 as of every other key; of the variant cardano, which has none, kL and kR. */
function privatePartOf(node: WalletNode, secret: Secret): Secret {
  if (node.variant === "cardano") return new Secret(secret.use((bytes) => new Uint8Array(bytes)));
  return materialOf(node).secret;
}

/**
 * The reverse of {@link partsOf}.
 *
 * @param kept its private part as it is kept; neither taken over nor destroyed; undefined when it can only watch
 * @returns a node with a private part of its own
 */
export function nodeOf(key: WalletKey, kept: Secret | undefined): WalletNode {
  const { path, chainCode } = key.wallet;
  const variant: WalletVariant = key.wallet.variant === "cardano" ? "cardano" : "";
  const secret = kept?.use((bytes) => (variant === "cardano" ? new Uint8Array(bytes) : rawPrivateKeyOf(bytes)));
  return {
    curve: key.type,
    variant,
    depth: parsePath(path).length,
    path,
    chainCode,
    publicKey: publicKeyOf(key, variant, secret),
    parentFingerprint: undefined,
    secret: secret && new Secret(secret),
  };
}

function publicKeyOf(key: WalletKey, variant: WalletVariant, secret: Uint8Array | undefined): Uint8Array {
  const known = key.publicKey && pointOf(key.type, key.publicKey);
  if (known !== undefined) return known;
  if (secret !== undefined) return schemeOf(key.type, variant).publicKeyOf(secret);
  throw new ThornkeyError("STATE_DAMAGED", `key '${key.name}' has neither a public nor a private part`);
}
