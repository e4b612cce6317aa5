/** A node of a wallet's tree: a key, and the chain code that its children are derived with. */
import type { Secret } from "../../bytes/secret.ts";

/** The key types of the house that wallets have. */
export const WALLET_CURVES = ["secp256k1", "p256", "ed25519"] as const;
export type WalletCurve = (typeof WALLET_CURVES)[number];

/** How keys are derived where a curve has more than one way: `cardano` is BIP32-Ed25519, for ed25519 only. */
export type WalletVariant = "" | "cardano";

export interface WalletNode {
  readonly curve: WalletCurve;
  readonly variant: WalletVariant;
  /** 0 for the master, at most 255. */
  readonly depth: number;
  /** As `formatPath` writes it. */
  readonly path: string;
  /** 32 bytes. Not secret, but with it and the public key all children that are not hardened can be seen. */
  readonly chainCode: Uint8Array;
  /** X then Y, 64 bytes; of ed25519 the 32 bytes of RFC 8032. */
  readonly publicKey: Uint8Array;
  /** First 4 bytes of the parent's identifier (BIP32); 0 for the master; undefined for a node made from parts. */
  readonly parentFingerprint: Uint8Array | undefined;
  /**
   * secp256k1 and p256: the number, 32 bytes big endian. ed25519: the 32 bytes of RFC 8032; of the variant cardano 64,
   * kL then kR. undefined when the node can only watch.
   */
  readonly secret: Secret | undefined;
}

/** Zeroes the private part. */
export function destroyNode(node: WalletNode): void {
  node.secret?.destroy();
}

/** What a scheme works on: private and chain code, both its own arrays. */
export interface PrivatePart {
  readonly secret: Uint8Array;
  readonly chainCode: Uint8Array;
}

export interface PublicPart {
  readonly publicKey: Uint8Array;
  readonly chainCode: Uint8Array;
}

/** One way of deriving keys. Indexes are whole: hardened ones have their highest bit set. */
export interface Scheme {
  /** Least and most bytes of a seed. */
  readonly seedBytes: readonly [number, number];
  readonly hardenedOnly: boolean;
  master(seed: Uint8Array): PrivatePart;
  publicKeyOf(secret: Uint8Array): Uint8Array;
  child(parent: PrivatePart & PublicPart, index: number): PrivatePart;
  /** Not hardened. Where the scheme has no such children, it is not called. */
  publicChild(parent: PublicPart, index: number): PublicPart;
  /** @returns the one form of a public key. @throws ThornkeyError `MALFORMED` when it is none on the curve */
  readPublicKey(bytes: Uint8Array): Uint8Array;
  /** Short form, that BIP32 hashes and serialises. @returns 33 bytes */
  compressed(publicKey: Uint8Array): Uint8Array;
}
