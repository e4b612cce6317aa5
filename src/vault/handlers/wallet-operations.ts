/** The operations on wallets, loaded with the first of them: their arithmetic takes longer to load than the vault. */
import type { OperationName } from "../../operations/table.ts";
import type { Handler, Handlers } from "./handler.ts";

type Shares = Extract<OperationName, `wallet.shares.${string}`>;
type Wallets = Exclude<Extract<OperationName, `wallet.${string}`>, Shares>;

export const walletHandlers: Handlers<Wallets | Shares> = {
  "wallet.create": onWallets("wallet.create"),
  "wallet.restore": onWallets("wallet.restore"),
  "wallet.watch": onWallets("wallet.watch"),
  "wallet.child": onWallets("wallet.child"),
  "wallet.address": onWallets("wallet.address"),
  "wallet.find": onWallets("wallet.find"),
  "wallet.list": onWallets("wallet.list"),
  "wallet.shares.begin": onShares("wallet.shares.begin"),
  "wallet.shares.group": onShares("wallet.shares.group"),
  "wallet.shares.member": onShares("wallet.shares.member"),
  "wallet.shares.restore.begin": onShares("wallet.shares.restore.begin"),
  "wallet.shares.restore.add": onShares("wallet.shares.restore.add"),
  "wallet.shares.cancel": onShares("wallet.shares.cancel"),
};

function onWallets<Name extends Wallets>(name: Name): Handler<Name> {
  return async (...request) => {
    const { walletHandlers: loaded } = await import("./wallets.ts");
    return loaded[name](...request);
  };
}

function onShares<Name extends Shares>(name: Name): Handler<Name> {
  return async (...request) => {
    const { walletShareHandlers: loaded } = await import("./wallet-shares.ts");
    return loaded[name](...request);
  };
}
