/**
 * Which keys are in which wallet, and where. Nothing of it is written: it is made of the keyring's records the first time
 * somebody asks, and follows them.
 */
import { storedKey } from "../records.ts";
import { isKey, type State } from "../store/state.ts";
import { isWalletKey, type WalletKey } from "./wallet-key.ts";

/** The first key of a wallet. */
export interface WalletHead {
  readonly id: string;
  /** Where the key's name belongs. */
  readonly scope: string;
  /** The wallet's name. */
  readonly name: string;
}

export interface WalletIndex {
  /**
   * Does one thing after the other. What is looked up meanwhile stays true until it is done, so everything that makes or
   * destroys keys of wallets goes through here.
   */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  /** All of these wait only for the first reading. */
  at(masterId: string, path: string): Promise<string | undefined>;
  /** @returns ids of all keys derived from one, and from those */
  below(key: WalletKey): Promise<readonly string[]>;
  heads(): Promise<readonly WalletHead[]>;
  /** @returns how many keys a wallet has */
  size(masterId: string): Promise<number>;
  /** After a change that made or destroyed a key. */
  add(key: WalletKey): void;
  remove(key: WalletKey): void;
}

interface Wallet {
  head: WalletHead | undefined;
  /** Path → id. */
  readonly keys: Map<string, string>;
}

/** Rows looked at in one turn of the process. */
const PAGE = 256;

export function createWalletIndex(state: State): WalletIndex {
  const wallets = new Map<string, Wallet>();
  let reading: Promise<void> | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  function add(key: WalletKey): void {
    const { masterId, path, name } = key.wallet;
    const wallet = wallets.get(masterId) ?? { head: undefined, keys: new Map() };
    wallets.set(masterId, wallet);
    wallet.keys.set(path, key.id);
    if (key.id === masterId) wallet.head = { id: key.id, scope: key.scope, name };
  }

  function remove({ id, wallet: { masterId, path } }: WalletKey): void {
    const wallet = wallets.get(masterId);
    if (wallet === undefined) return;
    if (wallet.keys.get(path) === id) wallet.keys.delete(path);
    if (wallet.head?.id === id) wallet.head = undefined;
    if (wallet.keys.size === 0) wallets.delete(masterId);
  }

  /** What changes while pages are read is told by add and remove as well. */
  async function read(): Promise<void> {
    let position: Uint8Array = new Uint8Array(0);
    for (;;) {
      const page = state.page(position, PAGE);
      for (const record of page) {
        position = record.id;
        if (!isKey(record.kind)) continue;
        const key = storedKey(record);
        if (isWalletKey(key)) add(key);
      }
      if (page.length < PAGE) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  function ready(): Promise<void> {
    reading ??= read().catch((error) => {
      reading = undefined;
      throw error;
    });
    return reading;
  }

  return {
    inTurn(work) {
      const done = turn.then(work);
      turn = done.catch(() => {});
      return done;
    },
    async at(masterId, path) {
      await ready();
      return wallets.get(masterId)?.keys.get(path);
    },
    async below({ wallet: { masterId, path } }) {
      await ready();
      const keys = wallets.get(masterId)?.keys ?? new Map<string, string>();
      return [...keys].filter(([other]) => other.startsWith(`${path}/`)).map(([, id]) => id);
    },
    async heads() {
      await ready();
      return [...wallets.values()].flatMap(({ head }) => head ?? []);
    },
    async size(masterId) {
      await ready();
      return wallets.get(masterId)?.keys.size ?? 0;
    },
    add,
    remove,
  };
}
