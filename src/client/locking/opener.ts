import type { Secret } from "../../bytes/secret.ts";
import { TAG_STANZAS } from "../../operations/age-recipients.ts";
import type { FileKeyOpener } from "./file-key.ts";
import type { Stanza } from "./header.ts";

/** What is needed of a `Thornkey`. */
export interface StorageOpener {
  open(args: { key?: string; stanzas: readonly Stanza[]; signal?: AbortSignal | undefined }): Promise<Secret>;
}

/**
 * Has the vault open file keys. Only stanzas of the vault's own kinds go to it, and nothing of the payload.
 *
 * @param storage of a connection to the vault
 * @param key name of a storage key; without it the vault's own
 */
export function vaultOpener(storage: StorageOpener, key?: string): FileKeyOpener {
  return async (stanzas, signal) => {
    const ours = stanzas.filter(({ args }) => TAG_STANZAS.includes(args[0] ?? ""));
    if (ours.length === 0) return undefined;
    return storage.open({ ...(key !== undefined && { key }), stanzas: ours, signal });
  };
}
