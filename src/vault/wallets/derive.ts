/** Nodes and their children, on every curve: BIP32, SLIP-10, BIP32-Ed25519. */
import { createHash } from "node:crypto";
import { ripemd160 } from "@noble/hashes/legacy.js";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { cardanoScheme } from "./cardano.ts";
import { ed25519Scheme } from "./ed25519.ts";
import {
  destroyNode,
  type PrivatePart,
  type Scheme,
  type WalletCurve,
  type WalletNode,
  type WalletVariant,
} from "./node.ts";
import { checkStep, DEEPEST, formatPath, formatStep, HARDENED, parsePath, type Step } from "./path.ts";
import { weierstrass } from "./weierstrass.ts";

const SCHEMES: { readonly [Curve in WalletCurve]: { readonly [Variant in WalletVariant]?: Scheme } } = {
  secp256k1: { "": weierstrass("secp256k1") },
  p256: { "": weierstrass("p256") },
  ed25519: { "": ed25519Scheme, cardano: cardanoScheme },
};

const NO_PARENT = new Uint8Array(4);
const CHAIN_CODE_BYTES = 32;

/** @throws ThornkeyError `NOT_SUPPORTED` when the curve has no such variant */
export function schemeOf(curve: WalletCurve, variant: WalletVariant): Scheme {
  const scheme = SCHEMES[curve][variant];
  if (scheme === undefined) throw new ThornkeyError("NOT_SUPPORTED", `there is no variant ${variant} of ${curve}`);
  return scheme;
}

/**
 * The root of a tree.
 *
 * @param seed 16 to 64 bytes; for the variant cardano 96 (seed.ts makes both). Not kept, not destroyed
 * @throws ThornkeyError `MALFORMED` for a seed of another length, `NOT_SUPPORTED` when the curve has no such variant
 */
export function masterNode(curve: WalletCurve, seed: Secret, variant: WalletVariant = ""): WalletNode {
  const scheme = schemeOf(curve, variant);
  const [least, most] = scheme.seedBytes;
  if (seed.length < least || seed.length > most) {
    throw new ThornkeyError("MALFORMED", `a wallet's seed cannot have ${seed.length} bytes`);
  }
  const place = { curve, variant, depth: 0, path: "m", parentFingerprint: NO_PARENT };
  return privateNode(place, scheme, seed.use(scheme.master));
}

/**
 * @param index 0 to 2^31 - 1
 * @returns the child, with its private part; the parent stays as it is
 * @throws ThornkeyError `NOT_SUPPORTED` when the parent can only watch, or the curve has hardened children only;
 *   `MALFORMED` for an index out of range; `LIMIT_REACHED` below depth 255
 */
export function childNode(parent: WalletNode, index: number, hardened: boolean): WalletNode {
  const scheme = schemeOf(parent.curve, parent.variant);
  const place = placeBelow(parent, scheme, { index, hardened });
  if (parent.secret === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", "a wallet that only watches has no private keys");
  }
  const { publicKey, chainCode } = parent;
  const whole = index + (hardened ? HARDENED : 0);
  const child = parent.secret.use((secret) => scheme.child({ secret, publicKey, chainCode }, whole));
  return privateNode(place, scheme, child);
}

/**
 * A child that can only watch, from the public part alone; its public key is the one that `childNode` has.
 *
 * @param index 0 to 2^31 - 1; hardened children cannot be seen from outside
 * @throws ThornkeyError as {@link childNode}
 */
export function publicChild(parent: WalletNode, index: number): WalletNode {
  const scheme = schemeOf(parent.curve, parent.variant);
  const place = placeBelow(parent, scheme, { index, hardened: false });
  return { ...place, ...scheme.publicChild(parent, index), secret: undefined };
}

/** @returns the same node without its private part; arrays are shared */
export function publicNode(node: WalletNode): WalletNode {
  return { ...node, secret: undefined };
}

/**
 * A node that can only watch, made from what another wallet gave out ("oversight wallet").
 *
 * @param publicKey X then Y, or a point in SEC 1 form; of ed25519 32 bytes
 * @param chainCode 32 bytes
 * @param path where the node is in the tree it comes from; believed
 * @throws ThornkeyError `MALFORMED` when one of them is not what it should be; `NOT_SUPPORTED` for ed25519 without
 *   variant, below which nothing can be seen
 */
export function watchNode(spec: {
  readonly curve: WalletCurve;
  readonly variant: WalletVariant;
  readonly publicKey: Uint8Array;
  readonly chainCode: Uint8Array;
  readonly path: string;
}): WalletNode {
  const { curve, variant, chainCode } = spec;
  const scheme = schemeOf(curve, variant);
  if (scheme.hardenedOnly) throw hardenedOnly(curve);
  if (chainCode.length !== CHAIN_CODE_BYTES) throw new ThornkeyError("MALFORMED", "a chain code has 32 bytes");
  const steps = parsePath(spec.path);
  return {
    curve,
    variant,
    depth: steps.length,
    path: formatPath(steps),
    chainCode: new Uint8Array(chainCode),
    publicKey: scheme.readPublicKey(spec.publicKey),
    parentFingerprint: steps.length === 0 ? NO_PARENT : undefined,
    secret: undefined,
  };
}

/**
 * Goes down from a node with a private part; what lies between is destroyed.
 *
 * @param path absolute, below or at the node
 * @returns a node whose private part is its own
 * @throws ThornkeyError as {@link childNode}, and `MALFORMED` when the path does not lead through the node
 */
export function descend(from: WalletNode, path: string): WalletNode {
  const steps = parsePath(path);
  const target = formatPath(steps);
  if (target !== from.path && !target.startsWith(`${from.path}/`)) {
    throw new ThornkeyError("MALFORMED", `${target} is not below ${from.path}`);
  }
  let node: WalletNode = { ...from, secret: from.secret?.use((bytes) => new Secret(new Uint8Array(bytes))) };
  for (const { index, hardened } of steps.slice(from.depth)) {
    const parent = node;
    try {
      node = childNode(parent, index, hardened);
    } finally {
      destroyNode(parent);
    }
  }
  return node;
}

/** First 4 bytes of the key's identifier (BIP32, "Key identifiers"): RIPEMD-160 of SHA-256 of the short form. */
export function fingerprintOf(node: WalletNode): Uint8Array {
  const short = schemeOf(node.curve, node.variant).compressed(node.publicKey);
  return ripemd160(createHash("sha256").update(short).digest()).slice(0, 4);
}

type Place = Pick<WalletNode, "curve" | "variant" | "depth" | "path" | "parentFingerprint">;

function placeBelow(parent: WalletNode, scheme: Scheme, step: Step): Place {
  checkStep(step);
  if (scheme.hardenedOnly && !step.hardened) throw hardenedOnly(parent.curve);
  if (parent.depth >= DEEPEST) throw new ThornkeyError("LIMIT_REACHED", "a wallet's tree is 255 levels deep");
  return {
    curve: parent.curve,
    variant: parent.variant,
    depth: parent.depth + 1,
    path: `${parent.path}/${formatStep(step)}`,
    parentFingerprint: fingerprintOf(parent),
  };
}

function privateNode(place: Place, scheme: Scheme, { secret, chainCode }: PrivatePart): WalletNode {
  const publicKey = scheme.publicKeyOf(secret);
  return { ...place, chainCode, publicKey, secret: new Secret(secret) };
}

function hardenedOnly(curve: WalletCurve): ThornkeyError {
  return new ThornkeyError("NOT_SUPPORTED", `on ${curve} there are only hardened child keys`, {
    hint: "derive it hardened, or choose the variant cardano when the wallet is made",
  });
}
