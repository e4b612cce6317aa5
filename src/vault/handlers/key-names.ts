/** What can be changed of a key besides its policy: its name, and what a front notes with it. */

import { ThornkeyError } from "../../errors.ts";
import type { KeyInfo, OperationName } from "../../operations/table.ts";
import type { Entry } from "../journal.ts";
import { recordOf, type StoredKey, storedKey, summaryOf } from "../records.ts";
import { keyFor } from "../use.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";
import { currentKey, forget, infoNow, infoOf, kindOf, namesOf, remember } from "./keys.ts";

type Names = Extract<OperationName, "key.rename" | "key.note">;

export const keyNameHandlers: Handlers<Names> = {
  async "key.rename"(vault, request, { key: name, name: wanted }) {
    const slash = wanted.indexOf("/");
    const label = wanted.slice(slash + 1);
    const key = await keyFor(vault, request, name, "manage");
    if (slash >= 0 && wanted.slice(0, slash) !== key.scope) {
      throw new ThornkeyError("USAGE", `key '${key.name}' stays in ${key.scope}: a key cannot change its scope`);
    }
    if (key.type === "storage")
      throw new ThornkeyError("USAGE", `'${key.name}' keeps its name: locked objects need it`);
    return alter(vault, request, key, { label }, (now) => ({
      kind: "key.renamed",
      text: `key ${key.name} is ${now.name} now`,
    }));
  },

  async "key.note"(vault, request, { key: name, notes }) {
    const key = await keyFor(vault, request, name, "manage");
    return alter(vault, request, key, { notes }, (now) => ({
      kind: "key.noted",
      text: `the notes with key ${now.name} were changed`,
    }));
  },
};

async function alter(
  vault: OpenVault,
  request: Request,
  { id, idBytes, name }: StoredKey,
  fields: Partial<Pick<StoredKey, "label" | "notes">>,
  entry: (now: StoredKey) => Pick<Entry, "kind" | "text">,
): Promise<{ key: KeyInfo }> {
  const changed = await vault.state.change((change) => {
    const current = currentKey(change, idBytes, name);
    const body = recordOf({ ...current, ...fields });
    const kind = kindOf(current);
    const before = storedKey({ id: idBytes, kind, generation: current.generation, body });
    const generation = change.put(kind, idBytes, namesOf(before), body, summaryOf(body));
    const now = { ...before, generation };
    change.journal({ ...entry(now), key: { id, name: now.name, generation }, caller: request.caller.facts });
    change.afterwards(() => forget(vault, id));
    remember(change, request, { key: infoNow(vault, now) });
    return now;
  });
  return { key: await infoOf(vault, request, changed) };
}
