/**
 * The end of a vault: crypto-shredding. What is on the disk is worthless once the root's keys and the sealed master key
 * are overwritten; the hardware stays usable and can be enrolled anew.
 */
import type { CallerFacts } from "../operations/who.ts";
import { checkpoint } from "./journal.ts";
import type { OpenVault } from "./vault.ts";

/**
 * Each step makes the next ones unnecessary for secrecy, so that a loss of power anywhere leaves nothing that opens: the
 * latch says that it began, and whoever starts the vault then goes on from there.
 */
export async function destroyVault(
  vault: OpenVault,
  caller: CallerFacts | undefined,
  reason: string,
): Promise<{ destroyed: readonly string[]; kept: readonly string[] }> {
  // 1. The latch, and the last entry of the journal, signed while there is a key to sign with.
  await vault.state.change(
    (change) => {
      change.setHead({ frozen: { since: vault.now(), reason: `it is being destroyed: ${reason}` } });
      change.journal({ kind: "vault.destroyed", text: `the vault was destroyed: ${reason}`, caller });
    },
    { counted: true },
  );
  await signJournal(vault).catch(() => {
    // A root that cannot sign any more must not keep us from destroying.
  });
  vault.destroyed = true;
  vault.walletSessions.end();
  vault.keyring.close();
  await vault.latch(reason);
  // 2. The sealed master key and every record, overwritten where SQLite put them.
  vault.shredStore();
  // 3. The root's own keys.
  const report = await vault.root.root.zeroize();
  return {
    destroyed: ["the sealed master key", "all wrapped keys", ...report.destroyed],
    kept: report.kept,
  };
}

/** Has the evidence key sign how far the journal has come. */
export async function signJournal(vault: OpenVault): Promise<void> {
  const { journal } = vault.state.head;
  // The last checkpoint is an entry itself, and nothing new by itself.
  if (journal.sequence - journal.signed <= 1 || !vault.rootDescription.capabilities.certify) return;
  const certification = await vault.root.root.certify(journal.hash);
  await vault.state.change((change) => {
    change.journal(checkpoint(journal, certification));
    // The checkpoint itself is covered by the next one.
    change.signedUpTo(journal.sequence);
  });
}
