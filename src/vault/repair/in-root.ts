/** Which keys are in the root, as a repair has to know. */
import { ThornkeyError } from "../../errors.ts";
import type { Root } from "../../roots/root.ts";
import type { KeyRecord } from "../records.ts";
import type { Candidate } from "./judge.ts";
import type { openSummaries } from "./plan.ts";

/** Handles that records and summaries name. */
export function handlesIn(candidates: readonly Candidate[], summaries: ReturnType<typeof openSummaries>): Set<string> {
  const bodies = [...candidates.map(({ body }) => body), ...[...summaries.values()].map(({ body }) => body)];
  return new Set(bodies.flatMap((body) => (body as Partial<KeyRecord> | undefined)?.handle ?? []));
}

/**
 * @param handles of keys that may be there: a root without places knows them only when it is asked
 * @returns public parts of the keys in the root, by their places
 */
export async function keysIn(root: Root, handles: ReadonlySet<string>): Promise<ReadonlyMap<string, Uint8Array>> {
  const { capabilities } = await root.describe();
  const keys = new Map<string, Uint8Array>();
  for (const { handle, replaceable, present, purpose } of capabilities.keys) {
    if (!replaceable || !present || !purpose.startsWith("user")) continue;
    keys.set(handle, (await root.publicKey(handle)).spki);
  }
  const places = new Set(capabilities.keys.map(({ handle }) => handle));
  for (const handle of handles) {
    if (places.has(handle)) continue;
    const found = await root.publicKey(handle).catch((error) => {
      if (error instanceof ThornkeyError && (error.code === "KEY_NOT_FOUND" || error.code === "NOT_SUPPORTED"))
        return undefined;
      throw error;
    });
    if (found !== undefined) keys.set(handle, found.spki);
  }
  return keys;
}
