/** What a record tells of a wallet's key, without its arithmetic: that is loaded when a wallet is used. */
import type { KeyRecord, StoredKey, WalletPlace } from "../records.ts";
import { WALLET_CURVES, type WalletCurve } from "./node.ts";
import { parsePath } from "./path.ts";

/** A key that is in a wallet. */
export type WalletKey = StoredKey & { readonly type: WalletCurve; readonly wallet: WalletPlace };

export function isWalletKey(key: StoredKey): key is WalletKey {
  return key.wallet !== undefined && (WALLET_CURVES as readonly string[]).includes(key.type);
}

/** The master derives, and does nothing else: nobody gets to see its public key. */
export function isMaster({ wallet }: Pick<KeyRecord, "wallet">): boolean {
  return wallet?.path === "m" && !wallet.watchOnly;
}

/** @returns whether a key's chain code may be given out: only of a hardened one, from which nothing leads upwards */
export function isHardened({ wallet }: WalletKey): boolean {
  return parsePath(wallet.path).at(-1)?.hardened ?? false;
}
