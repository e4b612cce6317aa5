/** Keys in the root that were deleted or used up: they are dead only when they are overwritten. */
import { ThornkeyError } from "../errors.ts";
import { storedKey } from "./records.ts";
import type { DoomedKey } from "./store/head.ts";
import { KIND } from "./store/state.ts";
import type { OpenVault } from "./vault.ts";

/** Overwrites a doomed key, and writes down that it is done. To be called in the root's queue. */
export async function overwriteResident(vault: OpenVault, { handle, id }: DoomedKey): Promise<void> {
  await vault.root.root.destroyKey(handle).catch((error) => {
    // A TPM keeps no keys: it forgot this one with its record, and cannot do more.
    if (!(error instanceof ThornkeyError) || (error.code !== "NOT_SUPPORTED" && error.code !== "KEY_NOT_FOUND"))
      throw error;
  });
  await vault.state.change((change) => change.overwritten(id));
}

/**
 * Overwrites what was deleted or used up while there was no time for it: the power went, or the root did not answer.
 *
 * @throws ThornkeyError what the root says; what is left is tried again with the next start
 */
export async function overwriteDoomed(vault: OpenVault): Promise<void> {
  for (const doomed of vault.state.head.doomed) {
    const claims = vault.state.ofKind(KIND.resident).map((record) => storedKey(record));
    const another = claims.some(({ handle, id }) => handle === doomed.handle && id !== doomed.id);
    // A new key in its place has overwritten it already.
    if (another) await vault.state.change((change) => change.overwritten(doomed.id));
    else await vault.rootQueue.run(0, () => overwriteResident(vault, doomed));
  }
}
