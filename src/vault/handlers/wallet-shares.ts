/** Wallets whose secret is shared with SLIP-39: made share after share, restored share after share. */
import { Secret } from "../../bytes/secret.ts";
import type { OperationName } from "../../operations/table.ts";
import type { OpenVault, Request } from "../vault.ts";
import { seedFromEntropy } from "../wallets/seed.ts";
import { openSharing } from "../wallets/slip39/generate.ts";
import { openRestoring } from "../wallets/slip39/restore.ts";
import type { Handlers } from "./handler.ts";
import { ENTROPY_BYTES, placeForMaster, secretsOf, storeMaster, variantOf, type WantedWallet } from "./wallets.ts";

type Names = Extract<OperationName, `wallet.shares.${string}`>;

/** Each passphrase costs 20000 iterations of PBKDF2, as most programs of SLIP-39 have it. */
const DEFAULT_EXPONENT = 1;

export const walletShareHandlers: Handlers<Names> = {
  async "wallet.shares.begin"(vault, request, args) {
    const { groups, groupsNeeded, exponent = DEFAULT_EXPONENT, passphrase, generatorKey, ...wanted } = args;
    using given = secretsOf(passphrase, undefined);
    const key = new Secret(generatorKey ?? new Uint8Array(0));
    await vault.walletSessions
      .begin(request, async () => {
        await placeForMaster(vault, request, wanted);
        const entropy = new Secret(await vault.random.fill(ENTROPY_BYTES));
        const spec = { groupCount: groups, groupThreshold: groupsNeeded, exponent, passphrase: given.passphrase };
        const sharing = await openSharing(entropy, spec, (length) => vault.random.fill(length)).catch((error) => {
          entropy.destroy();
          throw error;
        });
        return {
          kind: "sharing",
          sharing,
          finish: (last: Request) => storeFrom(vault, last, wanted, entropy, key),
          close() {
            for (const secret of [entropy, key]) secret.destroy();
            sharing.close();
          },
        };
      })
      .then(
        (begun) => begun || key.destroy(),
        (error) => {
          key.destroy();
          throw error;
        },
      );
    return {};
  },

  async "wallet.shares.group"(vault, request, { group, members, membersNeeded }) {
    return await vault.walletSessions.step(request, "sharing", async ({ sharing }) => {
      await sharing.startGroup(group, { memberCount: members, memberThreshold: membersNeeded });
      return {};
    });
  },

  async "wallet.shares.member"(vault, request, { passphrase }) {
    using given = secretsOf(passphrase, undefined);
    return await vault.walletSessions.step(request, "sharing", async ({ sharing, finish }) => {
      const { mnemonic, last } = await sharing.nextMember(given.passphrase);
      using share = mnemonic;
      try {
        const key = last ? await finish(request) : undefined;
        return { mnemonic: share.use((words) => words.slice()), ...(key && { key }) };
      } finally {
        if (last) vault.walletSessions.end();
      }
    });
  },

  async "wallet.shares.restore.begin"(vault, request, { passphrase, generatorKey, ...wanted }) {
    const key = new Secret(generatorKey ?? new Uint8Array(0));
    const given = new Secret(passphrase ?? new Uint8Array(0));
    await vault.walletSessions
      .begin(request, async () => {
        await placeForMaster(vault, request, wanted);
        const restoring = openRestoring(given);
        return {
          kind: "restoring",
          restoring,
          finish: (last: Request, secret: Secret) => storeFrom(vault, last, wanted, secret, key),
          close() {
            key.destroy();
            restoring.close();
          },
        };
      })
      .then(
        (begun) => begun || destroyAll(key, given),
        (error) => {
          destroyAll(key, given);
          throw error;
        },
      );
    return {};
  },

  async "wallet.shares.restore.add"(vault, request, { mnemonic, passphrase }) {
    using given = secretsOf(passphrase, undefined);
    using words = new Secret(mnemonic);
    return await vault.walletSessions.step(request, "restoring", async ({ restoring, finish }) => {
      using secret = await restoring.add(words, given.passphrase);
      if (secret === undefined) return {};
      try {
        return { key: await finish(request, secret) };
      } finally {
        vault.walletSessions.end();
      }
    });
  },

  "wallet.shares.cancel"(vault, request) {
    vault.walletSessions.cancel(request);
    return {};
  },
};

function destroyAll(...secrets: readonly Secret[]): void {
  for (const secret of secrets) secret.destroy();
}

/** The master of the secret that is shared. */
async function storeFrom(
  vault: OpenVault,
  request: Request,
  wanted: WantedWallet,
  secret: Secret,
  generatorKey: Secret,
) {
  using seed = seedFromEntropy(secret, { variant: variantOf(wanted), generatorKey });
  return await storeMaster(vault, request, wanted, seed);
}
