/** Wallets by slot. What the API has as text, mnemonics and passphrases, is text only here. */
import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { WALLET_TYPES } from "../../operations/table.ts";
import {
  decodePassphrase,
  type RecoveryStrategy,
  RecoveryStrategyBIP39,
  RecoveryStrategySLIP39,
} from "./recovery-strategy.ts";
import { type KeyTypeName, keyTypeOf, policyOf, type Slots, type Unit } from "./slots.ts";

export interface Wallets {
  create(
    type: KeyTypeName,
    generatorKey: Uint8Array,
    name: string,
    strategy: RecoveryStrategy,
  ): Promise<number | [slot: number, mnemonic: string]>;
  restore(
    type: KeyTypeName,
    generatorKey: Uint8Array,
    name: string,
    strategy: RecoveryStrategy,
    mnemonic: string | null,
  ): Promise<number>;
  watch(
    type: KeyTypeName,
    publicKey: Uint8Array,
    chainCode: Uint8Array,
    path: string,
    name: string,
    variant: string,
  ): Promise<number>;
  child(
    parent: number,
    index: number,
    hardened: boolean,
    withChainCode: boolean,
  ): Promise<number | [slot: number, chainCode: Uint8Array]>;
  group(index: number, members: number, membersNeeded: number): Promise<void>;
  member(passphrase: string): Promise<[slot: number, mnemonic: string]>;
  addShare(mnemonic: string, passphrase: string): Promise<number>;
  cancel(): Promise<void>;
  address(slot: number): Promise<[path: string, name: string, masterSlot: number]>;
  find(path: string, name: string | null, masterSlot: number | null): Promise<number>;
}

/** Of a wallet that is not there yet, as SLIP-39 has it. */
const NOT_YET = -1;
const MOST_INDEX = 0x7fff_ffff;

export function createWallets(connected: () => Promise<Unit>, slots: Slots): Wallets {
  /** The slot that the master of the shares will be in. */
  let pending = NOT_YET;

  /** What every new wallet is told of. */
  function wanted(unit: Unit, type: KeyTypeName, wallet: string, { variant }: { variant: string }, name: string) {
    if (variant !== "" && variant !== "cardano") throw usage("the variant of a wallet is 'cardano' or empty");
    const made = { name, wallet, type: walletTypeOf(type), policy: policyOf(unit) };
    return variant === "" ? made : { ...made, variant: "cardano" as const };
  }

  /** Begins with shares; the slot is the last one, so that others do not take it before they are all there. */
  async function begin(body: (unit: Unit, name: string) => Promise<void>): Promise<void> {
    const slot = await slots.reserve();
    await body(await connected(), `zymkey-slot-${slot}`);
    pending = slot;
  }

  return {
    async create(type, generator, name, strategy) {
      const unit = await connected();
      const { wallets } = unit.vault;
      using generatorKey = new Secret(Uint8Array.from(generator));
      using passphrase = passphraseOf(strategy);
      if (strategy instanceof RecoveryStrategySLIP39) {
        const { group_count: groups, group_threshold: groupsNeeded, iteration_exponent: exponent } = strategy;
        await begin((_, slotName) =>
          wallets.shares.begin({
            ...wanted(unit, type, name, strategy, slotName),
            ...{ generatorKey, passphrase, groups, groupsNeeded, exponent },
          }),
        );
        return 0;
      }
      const recovery = strategy instanceof RecoveryStrategyBIP39 ? "bip39" : "none";
      const { slot, made } = await slots.allocate((slotName) =>
        wallets.create({ ...wanted(unit, type, name, strategy, slotName), generatorKey, passphrase, recovery }),
      );
      if (recovery === "none") return slot;
      using mnemonic = made.mnemonic;
      if (mnemonic === undefined) throw lost(`remove_key(${slot}), and make another`);
      return [slot, textOf(mnemonic)];
    },

    async restore(type, generator, name, strategy, mnemonic) {
      const unit = await connected();
      const { wallets } = unit.vault;
      using generatorKey = new Secret(Uint8Array.from(generator));
      using passphrase = passphraseOf(strategy);
      if (strategy instanceof RecoveryStrategySLIP39) {
        await begin((_, slotName) =>
          wallets.shares.restore({ ...wanted(unit, type, name, strategy, slotName), generatorKey, passphrase }),
        );
        return NOT_YET;
      }
      if (!(strategy instanceof RecoveryStrategyBIP39) || mnemonic === null) {
        throw usage("a wallet is restored with BIP39 and its mnemonic, or with SLIP39");
      }
      using words = secretOf(mnemonic);
      const { slot } = await slots.allocate((slotName) =>
        wallets.restore({
          ...wanted(unit, type, name, strategy, slotName),
          ...{ generatorKey, passphrase, mnemonic: words },
        }),
      );
      return slot;
    },

    async watch(type, publicKey, chainCode, path, name, variant) {
      const unit = await connected();
      const { slot } = await slots.allocate((slotName) =>
        unit.vault.wallets.watch({ ...wanted(unit, type, name, { variant }, slotName), publicKey, chainCode, path }),
      );
      return slot;
    },

    async child(parent, index, hardened, withChainCode) {
      if (!Number.isInteger(index) || index < 0 || index > MOST_INDEX) {
        throw usage(`the index of a child key is a whole number from 0 to ${MOST_INDEX}`);
      }
      if (withChainCode && !hardened) throw usage("a chain code is answered of a hardened key only");
      const unit = await connected();
      const key = await slots.key(parent);
      const path = `${index}${hardened ? "'" : ""}`;
      const { slot, made } = await slots.allocate((name) =>
        unit.vault.wallets.child(key, {
          ...{ name, path, policy: policyOf(unit) },
          ...(withChainCode && { chainCode: true }),
        }),
      );
      if (!withChainCode) return slot;
      const { chainCode } = made.chainCode === undefined ? await askChainCode(unit, made.key.id) : made;
      return [slot, chainCode ?? new Uint8Array(0)];
    },

    async group(group, members, membersNeeded) {
      await (await connected()).vault.wallets.shares.group({ group, members, membersNeeded });
    },

    async member(passphrase) {
      using secret = secretOf(passphrase);
      const { mnemonic, key } = await (await connected()).vault.wallets.shares.member({ passphrase: secret });
      using share = mnemonic;
      if (share === undefined) throw lost("cancel_SLIP39_session, and begin again");
      return [key === undefined ? NOT_YET : pending, textOf(share)];
    },

    async addShare(sentence, passphrase) {
      using mnemonic = secretOf(sentence);
      using secret = secretOf(passphrase);
      const key = await (await connected()).vault.wallets.shares.add({ mnemonic, passphrase: secret });
      return key === undefined ? NOT_YET : pending;
    },

    async cancel() {
      await (await connected()).vault.wallets.shares.cancel();
    },

    async address(slot) {
      const { vault } = await connected();
      const { path, wallet, masterId } = await vault.wallets.address(await slots.key(slot));
      return [path, wallet, await slots.slotOf(masterId)];
    },

    async find(path, wallet, masterSlot) {
      if (wallet === null && masterSlot === null) throw usage("say the wallet's name, or its master's slot");
      const { vault } = await connected();
      const which = masterSlot === null ? { wallet: wallet ?? "" } : { key: await slots.key(masterSlot) };
      const { id, name } = await vault.wallets.find({ path, ...which });
      const slot = await slots.slotOf(id);
      if (slot >= 0) return slot;
      throw new ThornkeyError("KEY_NOT_FOUND", `the key ${name} is in no slot`, { hint: "it is used by its name" });
    },
  };
}

function askChainCode({ vault }: Unit, id: string) {
  return vault.wallets.address(id, { chainCode: true });
}

function walletTypeOf(name: KeyTypeName) {
  const type = keyTypeOf(name);
  const known = WALLET_TYPES.find((one) => one === type);
  if (known !== undefined) return known;
  throw usage(`there are no wallets of ${name}`);
}

function passphraseOf(strategy: RecoveryStrategy): Secret {
  const given = strategy instanceof RecoveryStrategyBIP39 || strategy instanceof RecoveryStrategySLIP39;
  return new Secret(given ? decodePassphrase(strategy.passphrase) : new Uint8Array(0));
}

function secretOf(text: string): Secret {
  return new Secret(new TextEncoder().encode(text));
}

function textOf(words: Secret): string {
  return words.use((bytes) => Buffer.from(bytes).toString("latin1"));
}

function lost(hint: string): ThornkeyError {
  return new ThornkeyError("OUTCOME_UNKNOWN", "the answer with the words was lost, and they are shown once", { hint });
}

function usage(sentence: string): ThornkeyError {
  return new ThornkeyError("USAGE", sentence);
}
