/**
 * The way to the use of a key: who, what, when, how often – and only then the key.
 */
import { ThornkeyError } from "../errors.ts";
import { overwriteResident } from "./doomed.ts";
import { recordOf, type StoredKey, storedKey, summaryOf } from "./records.ts";
import { type Circumstances, counts, mustBeWithin, oneMoreUse, type Use } from "./restrictions.ts";
import { lacking, mayUse, noSuchKey, rightsOn } from "./rights.ts";
import type { Kind } from "./store/state.ts";
import type { OpenVault, Request } from "./vault.ts";

export function circumstances(vault: OpenVault): Circumstances {
  return {
    now: vault.now(),
    boot: vault.boot,
    get earlyBootOver() {
      return vault.state.head.earlyBootEnded === vault.boot || vault.uptime() >= vault.device.earlyBootSeconds;
    },
  };
}

/**
 * Finds a key somebody wants to use, and makes sure that he may, now. What the policy counts is counted before this
 * returns, so a use that fails afterwards counts too.
 *
 * @param known the key, when the caller has found it already
 * @returns a promise only when something has to be waited for
 * @throws ThornkeyError `KEY_NOT_FOUND`, `NOT_PERMITTED`, `LIMIT_REACHED`, `TIMED_OUT`
 */
export function keyForUse(
  vault: OpenVault,
  request: Request,
  name: string,
  use: Use,
  known?: StoredKey,
): StoredKey | Promise<StoredKey> {
  const found = known ?? vault.keyring.find(name, request.caller);
  if (found instanceof Promise) return found.then((key) => permitted(vault, request, key, use));
  return permitted(vault, request, found, use);
}

function permitted(vault: OpenVault, request: Request, key: StoredKey, use: Use): StoredKey | Promise<StoredKey> {
  const may = mayUse(key, request.caller);
  if (may === true) return within(vault, request, key, use);
  return Promise.resolve(may).then(async (allowed) => {
    if (allowed) return within(vault, request, key, use);
    const rights = await rightsOn(key, request.caller, vault.authority);
    throw rights.size === 0 ? noSuchKey(key.label) : lacking("use", key.name);
  });
}

function within(vault: OpenVault, request: Request, key: StoredKey, use: Use): StoredKey | Promise<StoredKey> {
  const now = circumstances(vault);
  mustBeWithin(key, use, now);
  const { persons } = key.fixed;
  if (persons !== undefined) {
    vault.persons.mustBeThere(request.caller.facts.uid, persons, `key '${key.name}' is used`);
  }
  vault.rates.take(key, now.now);
  const written = counts(key.fixed) || key.policy.recordUses;
  if (!written && !key.policy.confirm) {
    vault.ledger.note(key.id, now.now);
    return key;
  }
  const confirmed = key.policy.confirm
    ? vault.confirmations.ask(key, use.purpose, request.caller, request.signal)
    : Promise.resolve();
  return confirmed.then(async () => {
    if (written) await count(vault, request, key, use);
    vault.ledger.note(key.id, now.now);
    return key;
  });
}

/** Writes a use down. The last one that the policy allows takes the key with it. */
async function count(vault: OpenVault, request: Request, key: StoredKey, use: Use): Promise<void> {
  const limited = key.fixed.maximumUses !== undefined;
  let last = false;
  await vault.state.change(
    (change) => {
      const record = change.get(key.idBytes);
      if (record === undefined) throw noSuchKey(key.name);
      const current = storedKey(record);
      // Others may have used it since we looked.
      const now = circumstances(vault);
      mustBeWithin(current, use, now);
      let generation = current.generation;
      if (counts(current.fixed)) {
        const uses = oneMoreUse(current.uses, now);
        last = uses.total === current.fixed.maximumUses;
        const body = recordOf({ ...current, uses, ...(last && { material: undefined }) });
        if (last && current.handle !== undefined) change.doom({ handle: current.handle, id: current.id });
        generation = change.put(
          record.kind as Kind,
          key.idBytes,
          { full: key.name, bare: key.label, scope: key.scope },
          body,
          summaryOf(body),
        );
      }
      if (current.policy.recordUses || limited) {
        change.journal({
          kind: "key.used",
          text: `key ${key.name} was used for ${use.purpose}`,
          key: { id: key.id, name: key.name, generation },
          caller: request.caller.facts,
          details: { purpose: use.purpose, algorithm: use.algorithm },
        });
      }
      change.afterwards(() => vault.keyring.forgetRecord(key.id));
    },
    { counted: limited },
  );
  const { handle } = key;
  if (last && handle !== undefined) {
    // After the use itself, which is about to join the root's queue.
    setImmediate(() => {
      vault.rootQueue
        .run(request.caller.facts.uid, async () => {
          // Deleted meanwhile, its place may be another's.
          if (vault.keyring.byId(key.id)?.handle === handle) await overwriteResident(vault, { handle, id: key.id });
        })
        .catch(() => {
          // The root does not answer. The record says that the key is used up, so nobody gets to it; the next start goes on.
        });
    });
  }
}

/** @throws ThornkeyError `KEY_NOT_FOUND` when he may not even see it, `NOT_PERMITTED` */
export async function keyFor(
  vault: OpenVault,
  request: Request,
  name: string,
  right: "manage" | "audit" | "observe" | "backup",
): Promise<StoredKey> {
  const key = await vault.keyring.find(name, request.caller);
  const rights = await rightsOn(key, request.caller, vault.authority);
  if (rights.size === 0) throw noSuchKey(key.label);
  if (!rights.has(right)) throw lacking(right, key.name);
  return key;
}

export function mustBeOperational(vault: OpenVault): void {
  const { frozen } = vault.state.head;
  if (vault.destroyed) throw new ThornkeyError("DESTROYED", "this vault was destroyed");
  if (frozen !== undefined) {
    throw new ThornkeyError("FROZEN", `the vault is frozen: ${frozen.reason}`, {
      hint: "an administrator ends it with 'thornkey thaw', once it is clear what happened",
    });
  }
}
