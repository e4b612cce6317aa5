/** Wallets: trees of keys that are derived from one secret (BIP32, SLIP-10, BIP32-Ed25519). */
import { toHex } from "../../bytes/bytes.ts";
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { factsOf, type KeyUse } from "../../operations/key-types.ts";
import type { FixedPolicy } from "../../operations/policy.ts";
import type { ArgsOf, KeyInfo, OperationName, WalletSummary } from "../../operations/table.ts";
import { isUserScope, userScope } from "../records.ts";
import { noSuchKey, rightsOn } from "../rights.ts";
import { newId } from "../store/state.ts";
import { keyFor, keyForUse } from "../use.ts";
import type { OpenVault, Request } from "../vault.ts";
import { descend, masterNode, publicChild, schemeOf, watchNode } from "../wallets/derive.ts";
import { mnemonicOf } from "../wallets/mnemonic.ts";
import { destroyNode, type WalletCurve, type WalletNode, type WalletVariant } from "../wallets/node.ts";
import { formatPath, parsePath } from "../wallets/path.ts";
import { type SeedSpec, seedFromEntropy, seedFromMnemonic } from "../wallets/seed.ts";
import { nodeOf, partsOf } from "../wallets/stored-node.ts";
import { isHardened, isWalletKey, type WalletKey } from "../wallets/wallet-key.ts";
import type { Handlers } from "./handler.ts";
import { infoOf, type Place, placeFor, recordFor, store, type WantedKey } from "./keys.ts";

type Names = Extract<
  OperationName,
  | "wallet.create"
  | "wallet.restore"
  | "wallet.watch"
  | "wallet.child"
  | "wallet.address"
  | "wallet.find"
  | "wallet.list"
>;

/** What somebody wants of a new wallet, whatever its secret comes from. */
export type WantedWallet = Omit<
  ArgsOf<"wallet.create">,
  "recovery" | "passphrase" | "generatorKey" | "fixed" | "policy"
> &
  Pick<WantedKey, "fixed" | "policy">;

/** Bytes of a new wallet's entropy: 24 words, or shares of 33. */
export const ENTROPY_BYTES = 32;

/** What a master is for. */
const MASTER_POLICY = { uses: ["derive"], algorithms: ["bip32"] } as const satisfies FixedPolicy;

const DERIVING = { purpose: "derive", algorithm: "bip32", digest: undefined } as const;
const WATCHING: readonly KeyUse[] = ["verify", "derive"];

export const walletHandlers: Handlers<Names> = {
  async "wallet.create"(vault, request, { recovery = "bip39", passphrase, generatorKey, ...wanted }) {
    using secrets = secretsOf(passphrase, generatorKey);
    if (recovery === "none" && secrets.passphrase.length > 0) {
      throw new ThornkeyError("USAGE", "a passphrase belongs to a mnemonic, and none was wanted");
    }
    vault.walletSessions.mustBeFree();
    await placeForMaster(vault, request, wanted);
    using entropy = new Secret(await vault.random.fill(ENTROPY_BYTES));
    const spec = { variant: variantOf(wanted), generatorKey: secrets.generatorKey };
    if (recovery === "none") {
      using seed = seedFromEntropy(entropy, spec);
      return { key: await storeMaster(vault, request, wanted, seed) };
    }
    using mnemonic = mnemonicOf(entropy);
    using seed = seedFromMnemonic(mnemonic, secrets.passphrase, spec);
    const key = await storeMaster(vault, request, wanted, seed);
    return { key, mnemonic: mnemonic.use((words) => words.slice()) };
  },

  async "wallet.restore"(vault, request, { mnemonic, seed: given, passphrase, generatorKey, ...wanted }) {
    using secrets = secretsOf(passphrase, generatorKey);
    using words = mnemonic && new Secret(mnemonic);
    using entropy = given && new Secret(given);
    vault.walletSessions.mustBeFree();
    await placeForMaster(vault, request, wanted);
    using seed = seedOf(words, entropy, secrets.passphrase, {
      variant: variantOf(wanted),
      generatorKey: secrets.generatorKey,
    });
    return { key: await storeMaster(vault, request, wanted, seed) };
  },

  async "wallet.watch"(vault, request, { publicKey, chainCode, path, ...wanted }) {
    vault.walletSessions.mustBeFree();
    const node = watchNode({ curve: wanted.type, variant: variantOf(wanted), publicKey, chainCode, path });
    return { key: await storeHead(vault, request, { ...wanted, fixed: { uses: [...WATCHING] } }, node) };
  },

  async "wallet.child"(vault, request, { key: name, path, chainCode, ...wanted }) {
    const parent = mustBeOfWallet(await vault.keyring.find(name, request.caller));
    const steps = [...parsePath(parent.wallet.path), ...parsePath(`m/${path}`)];
    if (chainCode && !steps.at(-1)?.hardened) throw noChainCode();
    const purposes = parent.wallet.watchOnly ? WATCHING : purposesOf(parent.type);
    const fixed = { ...wanted.fixed, uses: [...(wanted.fixed?.uses ?? purposes)] };
    const place = await placeOf(vault, request, { ...wanted, fixed }, parent.type, purposes);
    await keyForUse(vault, request, parent.id, DERIVING, parent);
    return vault.wallets.inTurn(async () => {
      const target = formatPath(steps);
      if ((await vault.wallets.at(parent.wallet.masterId, target)) !== undefined) {
        throw new ThornkeyError("KEY_EXISTS", `there is a key at ${target} of this wallet already`);
      }
      if (vault.keyring.byId(parent.id) === undefined) throw noSuchKey(name);
      const node = below(vault, parent, steps.slice(parsePath(parent.wallet.path).length));
      try {
        const key = await storeNode(vault, request, { ...wanted, fixed }, place, node, parent.wallet);
        return { key, ...(chainCode && { chainCode: node.chainCode }) };
      } finally {
        destroyNode(node);
      }
    });
  },

  async "wallet.address"(vault, request, { key: name, chainCode }) {
    const key = mustBeOfWallet(await keyFor(vault, request, name, chainCode ? "manage" : "observe"));
    if (chainCode && !isHardened(key)) throw noChainCode();
    const { name: wallet, path, masterId } = key.wallet;
    return { wallet, path, masterId, ...(chainCode && { chainCode: key.wallet.chainCode }) };
  },

  async "wallet.find"(vault, request, { path, wallet, key: name }) {
    if ((wallet === undefined) === (name === undefined)) {
      throw new ThornkeyError("USAGE", "say which wallet: by its name, or by one of its keys");
    }
    const target = formatPath(parsePath(path));
    const wallets = name === undefined ? await walletsNamed(vault, request, wallet ?? "") : [];
    if (name !== undefined) wallets.push(mustBeOfWallet(await keyFor(vault, request, name, "observe")).wallet.masterId);
    for (const masterId of wallets) {
      const id = await vault.wallets.at(masterId, target);
      const key = id === undefined ? undefined : vault.keyring.byId(id);
      if (key !== undefined && (await rightsOn(key, request.caller, vault.authority)).size > 0) {
        return { key: await infoOf(vault, request, key) };
      }
    }
    throw new ThornkeyError("KEY_NOT_FOUND", `there is no key at ${target} of this wallet`, {
      hint: "it has to be derived again after a wallet was restored: 'thornkey wallet child'",
    });
  },

  async "wallet.list"(vault, request) {
    const wallets: WalletSummary[] = [];
    for (const { id, name } of await vault.wallets.heads()) {
      const key = vault.keyring.byId(id);
      if (key === undefined || !isWalletKey(key)) continue;
      if ((await rightsOn(key, request.caller, vault.authority)).size === 0) continue;
      if (wallets.length === LISTED) return { wallets, more: true };
      const { variant, watchOnly } = key.wallet;
      wallets.push({
        ...{ name, key: key.name, id, type: key.type, watchOnly, keys: await vault.wallets.size(id) },
        ...(variant === "cardano" && { variant }),
      });
    }
    return { wallets, more: false };
  },
};

const LISTED = 200;

/** Takes secrets of a request over. */
export function secretsOf(passphrase: Uint8Array | undefined, generatorKey: Uint8Array | undefined) {
  const secrets = {
    passphrase: new Secret(passphrase ?? new Uint8Array(0)),
    generatorKey: new Secret(generatorKey ?? new Uint8Array(0)),
    [Symbol.dispose]() {
      secrets.passphrase.destroy();
      secrets.generatorKey.destroy();
    },
  };
  return secrets;
}

export function variantOf({ variant }: Pick<WantedWallet, "variant">): WalletVariant {
  return variant ?? "";
}

function seedOf(mnemonic: Secret | undefined, entropy: Secret | undefined, passphrase: Secret, spec: SeedSpec): Secret {
  if (mnemonic !== undefined && entropy === undefined) return seedFromMnemonic(mnemonic, passphrase, spec);
  if (entropy !== undefined && mnemonic === undefined && passphrase.length === 0) return seedFromEntropy(entropy, spec);
  throw new ThornkeyError(
    "USAGE",
    "a wallet is restored from a mnemonic, with or without a passphrase, or from a seed",
  );
}

/**
 * Checks a wish for a wallet before anything is made.
 *
 * @throws ThornkeyError `USAGE`, `NOT_PERMITTED`, `NOT_SUPPORTED`, `KEY_EXISTS`
 */
export async function placeForMaster(vault: OpenVault, request: Request, wanted: WantedWallet): Promise<Place> {
  const { fixed } = wanted;
  schemeOf(wanted.type, variantOf(wanted));
  if (fixed?.uses !== undefined || fixed?.algorithms !== undefined) {
    throw new ThornkeyError("USAGE", "the master of a wallet derives keys, and is for nothing else", {
      hint: "purposes and algorithms are for the keys below it",
    });
  }
  return placeForHead(vault, request, wanted);
}

async function placeForHead(vault: OpenVault, request: Request, wanted: WantedWallet): Promise<Place> {
  const place = await placeOf(vault, request, wanted, wanted.type, [...purposesOf(wanted.type), ...WATCHING]);
  const name = walletNameOf(wanted, place);
  const heads = await vault.wallets.heads();
  if (heads.some((head) => head.name === name && head.scope === place.scope)) {
    throw new ThornkeyError("KEY_EXISTS", `there is a wallet '${name}' already`, { hint: "choose another name" });
  }
  return place;
}

/** A wallet nobody named is called as its first key. */
function walletNameOf({ wallet }: WantedWallet, { label }: Place): string {
  return wallet ?? label;
}

/** @param purposes what the key can be for: besides what its type can do it may derive */
async function placeOf(
  vault: OpenVault,
  request: Request,
  wanted: WantedKey,
  type: WalletCurve,
  purposes: readonly KeyUse[],
): Promise<Place> {
  const { uses, ...fixed } = wanted.fixed ?? {};
  if (fixed.export === "wrapped" || fixed.ingredient) {
    throw new ThornkeyError("USAGE", "a wallet's key never leaves, and has no ingredient", {
      hint: "its mnemonic or its shares restore it elsewhere",
    });
  }
  const wrong = uses?.find((use) => !purposes.includes(use));
  if (wrong !== undefined || uses?.length === 0) {
    throw new ThornkeyError("USAGE", `such a wallet key is for ${purposes.join(", ")}`);
  }
  return placeFor(vault, request, { name: wanted.name, policy: wanted.policy, fixed }, type, false);
}

/** What a key of a wallet can be for. */
function purposesOf(type: WalletCurve): readonly KeyUse[] {
  return [...new Set<KeyUse>([...factsOf(type).uses, "derive"])];
}

/** @param seed neither kept nor destroyed. @throws ThornkeyError also as {@link placeForMaster} */
export async function storeMaster(
  vault: OpenVault,
  request: Request,
  wanted: WantedWallet,
  seed: Secret,
): Promise<KeyInfo> {
  const node = masterNode(wanted.type, seed, variantOf(wanted));
  try {
    return await storeHead(vault, request, { ...wanted, fixed: { ...wanted.fixed, ...MASTER_POLICY } }, node);
  } finally {
    destroyNode(node);
  }
}

/** The first key of a wallet, whose id is the wallet's. */
function storeHead(vault: OpenVault, request: Request, wanted: WantedWallet, node: WalletNode): Promise<KeyInfo> {
  return vault.wallets.inTurn(async () => {
    const place = await placeForHead(vault, request, wanted);
    const id = newId();
    const wallet = { name: walletNameOf(wanted, place), masterId: toHex(id) };
    return storeNode(vault, request, wanted, place, node, wallet, id);
  });
}

async function storeNode(
  vault: OpenVault,
  request: Request,
  wanted: WantedKey,
  place: Place,
  node: WalletNode,
  wallet: { readonly name: string; readonly masterId: string },
  id = newId(),
): Promise<KeyInfo> {
  const parts = partsOf(node, wallet);
  using secret = parts.secret;
  const material = secret?.use((bytes) => bytes.slice());
  try {
    return await store(vault, request, id, {
      ...recordFor(vault, request, wanted, node.curve, place),
      origin: "wallet",
      publicKey: parts.publicKey,
      material,
      wallet: parts.wallet,
    });
  } finally {
    material?.fill(0);
  }
}

/** @param steps at least one. @returns the node below a key, the caller's to destroy */
function below(vault: OpenVault, parent: WalletKey, steps: ReturnType<typeof parsePath>): WalletNode {
  if (!parent.wallet.watchOnly) {
    using kept = vault.keyring.material(parent);
    const node = nodeOf(parent, kept);
    try {
      return descend(node, formatPath([...parsePath(parent.wallet.path), ...steps]));
    } finally {
      destroyNode(node);
    }
  }
  if (steps.some(({ hardened }) => hardened)) {
    throw new ThornkeyError("NOT_SUPPORTED", "a wallet that only watches cannot see hardened keys");
  }
  return steps.reduce((node, { index }) => publicChild(node, index), nodeOf(parent, undefined));
}

/** His own wallet of the name first, then those of namespaces and of others. */
async function walletsNamed(vault: OpenVault, request: Request, name: string): Promise<string[]> {
  const own = userScope(request.caller.facts.uid);
  const rank = (scope: string) => (scope === own ? 0 : isUserScope(scope) ? 2 : 1);
  const named = (await vault.wallets.heads()).filter((head) => head.name === name);
  return named.sort((a, b) => rank(a.scope) - rank(b.scope)).map(({ id }) => id);
}

function mustBeOfWallet(key: Parameters<typeof isWalletKey>[0]): WalletKey {
  if (isWalletKey(key)) return key;
  throw new ThornkeyError("USAGE", `key '${key.name}' is in no wallet`, {
    hint: "a wallet is made with 'thornkey wallet new'; other keys cannot join one",
  });
}

function noChainCode(): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", "a chain code is given out for hardened keys only", {
    hint: "with another one's chain code and a child's private key, its parent's could be calculated",
  });
}
