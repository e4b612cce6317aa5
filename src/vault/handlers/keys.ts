/** Making, taking in, showing, changing and destroying keys. */

import { fromHex } from "../../bytes/bytes.ts";
import type { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { factsOf, type KeyType, type KeyUse } from "../../operations/key-types.ts";
import type { FixedPolicy, Policy } from "../../operations/policy.ts";
import { encodeStrictly } from "../../operations/protocol.ts";
import type { KeyInfo, KeySummary, OperationName } from "../../operations/table.ts";
import { parseWho } from "../../operations/who.ts";
import { isKeyFilePem } from "../../roots/tpm/tss2.ts";
import { overwriteResident } from "../doomed.ts";
import { sealMaterial } from "../keyring.ts";
import { generateMaterial } from "../material/generate.ts";
import type { NewMaterial } from "../material/material.ts";
import { parseMaterial } from "../material/parse.ts";
import {
  fullName,
  isUserScope,
  type KeyRecord,
  recordOf,
  type StoredKey,
  storedKey,
  summaryOf,
  userScope,
} from "../records.ts";
import { enforcedLines, mustFitType, usesInBoot, usesOf } from "../restrictions.ts";
import { mayCreate, rightsOn } from "../rights.ts";
import { type Change, isKey, KIND, type Kind, newId } from "../store/state.ts";
import { keyFor } from "../use.ts";
import type { OpenVault, Request } from "../vault.ts";
import { isWalletKey } from "../wallets/wallet-key.ts";
import type { Handlers } from "./handler.ts";
import { adoptKeyFile } from "./key-files.ts";
import { listPage } from "./paging.ts";

type Names = Extract<
  OperationName,
  "key.create" | "key.import" | "key.list" | "key.show" | "key.public" | "key.policy" | "key.delete"
>;

/** What somebody wants of a new key, whatever it comes from. */
export interface WantedKey {
  readonly name: string;
  readonly fixed?: FixedPolicy | undefined;
  readonly policy?: Policy | undefined;
  readonly notes?: Uint8Array | undefined;
  readonly ingredient?: Uint8Array | undefined;
}

export const keyHandlers: Handlers<Names> = {
  async "key.create"(vault, request, { type, protection = "wrapped", ...wanted }) {
    const place = await placeFor(vault, request, wanted, type, protection === "resident");
    if (protection === "resident") return { key: await createResident(vault, request, wanted, type, place) };
    const { secret, publicKey } = await generateMaterial(type);
    using material = secret;
    return {
      key: await storeWrapped(vault, request, wanted, { type, secret: material, publicKey }, "generated", place),
    };
  },

  async "key.import"(vault, request, { type, material, auth, ...wanted }) {
    if (isKeyFilePem(material)) return { key: await adoptKeyFile(vault, request, { type, material, auth, ...wanted }) };
    if (auth !== undefined) throw new ThornkeyError("USAGE", "only a key file of a TPM has an authorisation");
    const parsed = parseMaterial(material, type);
    material.fill(0);
    using secret = parsed.secret;
    const place = await placeFor(vault, request, wanted, parsed.type, false);
    return { key: await storeWrapped(vault, request, wanted, { ...parsed, secret }, "imported", place) };
  },

  async "key.list"(vault, request, { namespace, ...where }) {
    const { items, ...rest } = await listPage(vault, where, async (record) => {
      if (!isKey(record.kind)) return undefined;
      const key = storedKey(record);
      if (namespace !== undefined && key.scope !== namespace) return undefined;
      const rights = await rightsOn(key, request.caller, vault.authority);
      return rights.size > 0 ? summary(key, rights) : undefined;
    });
    return { keys: items, ...rest };
  },

  async "key.show"(vault, request, { key: name }) {
    const key = await keyFor(vault, request, name, "observe");
    return { key: await infoOf(vault, request, key) };
  },

  async "key.public"(vault, request, { key: name }) {
    const { type, publicKey, wallet, name: full } = await keyFor(vault, request, name, "observe");
    if (publicKey === undefined && wallet !== undefined) {
      throw new ThornkeyError("NOT_PERMITTED", `key '${full}' is the master of a wallet: it shows no public part`, {
        hint: "derive a key below it",
      });
    }
    if (publicKey === undefined) {
      throw new ThornkeyError("NOT_SUPPORTED", `key '${full}' is symmetric: it has no public part`);
    }
    return { type, publicKey };
  },

  async "key.policy"(vault, request, { key: name, policy, remove = [] }) {
    mustBeReadable(policy);
    const { idBytes } = await keyFor(vault, request, name, "manage");
    const changed = await vault.state.change(
      (change) => {
        const current = currentKey(change, idBytes, name);
        const next: Policy = { ...current.policy, ...policy };
        for (const field of remove) delete (next as { [field: string]: unknown })[field];
        const body = recordOf({ ...current, policy: next });
        const generation = change.put(kindOf(current), idBytes, namesOf(current), body, summaryOf(body));
        const words = enforcedLines({ ...current, policy: next }).map(({ line }) => line);
        change.journal({
          kind: "key.policy",
          text: `the policy of key ${current.name} was changed`,
          key: { id: current.id, name: current.name, generation },
          caller: request.caller.facts,
          details: { policy: words },
        });
        change.afterwards(() => forget(vault, current.id));
        const stored = { ...current, policy: next, generation };
        remember(change, request, { key: infoNow(vault, stored) });
        return stored;
      },
      { counted: true },
    );
    return { key: await infoOf(vault, request, changed) };
  },

  async "key.delete"(vault, request, { key: name }) {
    const key = await keyFor(vault, request, name, "manage");
    const remove = async (below: readonly string[] = []) => {
      await vault.state.change(
        (change) => {
          const current = currentKey(change, key.idBytes, name);
          removeKey(vault, request, change, current, "");
          for (const id of below) {
            const child = change.get(fromHex(id));
            if (child)
              removeKey(vault, request, change, storedKey(child), ` with ${current.name}, which it comes from`);
          }
          remember(change, request, { id: current.id });
        },
        { counted: true },
      );
    };
    const { handle } = key;
    // Without the key they come from, a wallet's keys are nobody's any more.
    if (isWalletKey(key)) await vault.wallets.inTurn(async () => remove(await vault.wallets.below(key)));
    else if (handle === undefined) await remove();
    else {
      // In one turn of the root: in between, its place would be free for another's key, which would then be destroyed.
      await vault.rootQueue.run(request.caller.facts.uid, async () => {
        await remove();
        await overwriteResident(vault, { handle, id: key.id });
      });
    }
    return { id: key.id };
  },
};

function removeKey(vault: OpenVault, request: Request, change: Change, key: StoredKey, why: string): void {
  change.remove(key.idBytes);
  if (key.handle !== undefined) change.doom({ handle: key.handle, id: key.id });
  change.journal({
    kind: "key.deleted",
    text: `key ${key.name} was destroyed${why}`,
    key: { id: key.id, name: key.name, generation: key.generation },
    caller: request.caller.facts,
  });
  change.afterwards(() => {
    forget(vault, key.id);
    vault.ledger.forget(key.id);
    vault.rates.forget(key.id);
    if (isWalletKey(key)) vault.wallets.remove(key);
  });
}

/** Where a new key belongs: its owner's scope, or a namespace. */
export interface Place {
  readonly scope: string;
  readonly label: string;
}

/**
 * Checks a wish for a key before anything is made.
 *
 * @throws ThornkeyError `USAGE`, `NOT_PERMITTED`, `LIMIT_REACHED`, `KEY_EXISTS`
 */
export async function placeFor(
  vault: OpenVault,
  request: Request,
  { name, fixed = {}, policy = {}, ingredient }: WantedKey,
  type: KeyType,
  resident: boolean,
): Promise<Place> {
  mustFitType(type, fixed, resident);
  mustBeReadable(policy);
  if ((fixed.ingredient ?? false) !== (ingredient !== undefined)) {
    throw new ThornkeyError("USAGE", "an ingredient and a policy that wants one belong together");
  }
  const place = await scopeFor(vault, request, name);
  const { scope, label } = place;
  if (vault.state.byName(fullName(scope, label)) !== undefined) {
    throw new ThornkeyError("KEY_EXISTS", `there is a '${fullName(scope, label)}' already`, {
      hint: "choose another name, or delete that one first",
    });
  }
  return place;
}

/** @throws ThornkeyError `NOT_PERMITTED` when the caller makes nothing there */
export async function scopeFor(vault: OpenVault, request: Request, name: string): Promise<Place> {
  const { uid } = request.caller.facts;
  const slash = name.indexOf("/");
  const scope = slash < 0 ? userScope(uid) : name.slice(0, slash);
  if (isUserScope(scope) && scope !== userScope(uid)) {
    throw new ThornkeyError("NOT_PERMITTED", "a key can be made for oneself, or in a namespace");
  }
  if (!(await mayCreate(scope, request.caller, vault.authority))) {
    throw isUserScope(scope)
      ? new ThornkeyError("NOT_PERMITTED", "you may make no keys on this device", {
          hint: "its administrator can let you: thornkey device change --creator WHO",
        })
      : new ThornkeyError("NOT_PERMITTED", `you may make no keys in the namespace '${scope}'`, {
          hint: "its administrators can; 'thornkey namespace list' shows yours",
        });
  }
  return { scope, label: name.slice(slash + 1) };
}

/** Everybody a policy names must be somebody. */
export function mustBeReadable(policy: Pick<Policy, "allow">): void {
  for (const { who } of policy.allow ?? []) parseWho(who);
}

/**
 * Who makes a key may use it, if he is a user. Root manages what it made; a use of its own it must write into the
 * policy, like everybody else's.
 */
function policyAtCreation(request: Request, policy: Policy | undefined): Policy {
  const { uid } = request.caller.facts;
  if (uid === 0) return policy ?? {};
  return { ...policy, allow: [{ who: `uid:${uid}`, rights: ["use", "backup"] }, ...(policy?.allow ?? [])] };
}

export function recordFor(
  vault: OpenVault,
  request: Request,
  { fixed = {}, policy, notes }: WantedKey,
  type: KeyType,
  place: Place,
): KeyRecord {
  return {
    version: 1,
    ...place,
    type,
    origin: "generated",
    owner: request.caller.facts.uid,
    created: vault.now(),
    fixed,
    policy: policyAtCreation(request, policy),
    root: vault.root.serial,
    ...(notes && { notes }),
  };
}

/** @returns what is known of the key that is now in the state */
export async function storeWrapped(
  vault: OpenVault,
  request: Request,
  wanted: WantedKey,
  { type, secret, publicKey }: NewMaterial,
  origin: KeyRecord["origin"],
  place: Place,
  extra: Partial<KeyRecord> = {},
): Promise<KeyInfo> {
  const id = newId();
  const material = sealMaterial(id, secret, wanted.fixed?.ingredient ?? false, wanted.ingredient);
  try {
    const record = { ...recordFor(vault, request, wanted, type, place), origin, publicKey, material, ...extra };
    return await store(vault, request, id, record);
  } finally {
    material.fill(0);
    wanted.ingredient?.fill(0);
  }
}

async function createResident(
  vault: OpenVault,
  request: Request,
  wanted: WantedKey,
  type: KeyType,
  place: Place,
): Promise<KeyInfo> {
  const uses = wanted.fixed?.uses ?? ["sign", "verify"];
  const use = residentUse(wanted, uses);
  const making = vault.rootDescription.capabilities.makes.find((one) => one.algorithm === type && one.use === use);
  if (making === undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", `the root makes no ${type} keys to ${use} with inside`, {
      hint: "make it wrapped: sealed by the root, used in the vault",
    });
  }
  // One at a time: the places of the root are given out by what the state says is taken.
  return vault.rootQueue.run(request.caller.facts.uid, async () => {
    const { handle, publicKey } = await vault.root.root.generateKey({
      algorithm: making.algorithm,
      use,
      occupied: occupiedHandles(vault),
    });
    const record: KeyRecord = {
      ...recordFor(vault, request, wanted, type, place),
      fixed: { ...wanted.fixed, uses },
      publicKey: publicKey.spki,
      handle,
    };
    try {
      return await store(vault, request, newId(), record);
    } catch (error) {
      await vault.root.root.destroyKey(handle).catch(() => {
        // The root does not answer. No record names the key, so its place is free all the same.
      });
      throw error;
    }
  });
}

/**
 * What a key inside a root is for: it signs, or agrees.
 *
 * @throws ThornkeyError `NOT_SUPPORTED`, `USAGE`
 */
export function residentUse({ fixed }: Pick<WantedKey, "fixed">, uses: readonly KeyUse[]): "sign" | "agree" {
  const other = uses.find((use) => !["sign", "verify", "agree", "derive"].includes(use));
  if (other !== undefined) {
    throw new ThornkeyError("NOT_SUPPORTED", `a resident key is not for '${other}'`, { hint: "make a wrapped one" });
  }
  const agrees = uses.some((use) => use === "agree" || use === "derive");
  if (agrees && uses.some((use) => use === "sign")) {
    throw new ThornkeyError("USAGE", "a key inside the root signs or agrees, not both", {
      hint: "make two keys, or a wrapped one",
    });
  }
  if (fixed?.ingredient) {
    throw new ThornkeyError("NOT_SUPPORTED", "an ingredient is mixed into the sealing, and a resident key has none");
  }
  return agrees ? "agree" : "sign";
}

/** Places of the root that keys of this vault are in. */
export function occupiedHandles(vault: OpenVault): string[] {
  return vault.state.ofKind(KIND.resident).flatMap((record) => storedKey(record).handle ?? []);
}

/** Puts a new key into the state. @returns what is known of it */
export async function store(vault: OpenVault, request: Request, id: Uint8Array, record: KeyRecord): Promise<KeyInfo> {
  const name = fullName(record.scope, record.label);
  const stored = await vault.state.change((change) => {
    mustHaveRoom(vault, change, request, record.scope);
    const kind = kindOf(record);
    const names = { full: name, bare: record.label, scope: record.scope };
    const generation = change.put(kind, id, names, record, summaryOf(record));
    const key = storedKey({ id, kind, generation, body: record });
    const { wallet } = record;
    const how = wallet ? `put into wallet ${wallet.name} at ${wallet.path}` : record.origin;
    change.journal({
      kind: `key.${record.origin}`,
      text: `key ${name} (${record.type}, ${key.protection}) was ${how}`.slice(0, 600),
      key: { id: key.id, name, generation },
      caller: request.caller.facts,
      details: {
        policy: enforcedLines(key).map(({ line }) => line),
        ...(record.publicKey && { publicKey: Buffer.from(record.publicKey).toString("base64") }),
        ...(wallet && { wallet: { name: wallet.name, master: wallet.masterId, watchOnly: wallet.watchOnly } }),
      },
    });
    remember(change, request, { key: infoNow(vault, key) });
    change.afterwards(() => {
      vault.keyring.forgetNames();
      if (isWalletKey(key)) vault.wallets.add(key);
    });
    return key;
  });
  return infoOf(vault, request, stored);
}

/** @throws ThornkeyError `LIMIT_REACHED` */
export function mustHaveRoom(vault: OpenVault, change: Change, request: Request, scope: string): void {
  const namespace = vault.namespaces.get(scope);
  const limit = namespace ? namespace.keysAtMost : vault.device.keysPerOwner;
  const administrators = vault.device.administrators.includes(`uid:${request.caller.facts.uid}`);
  if (namespace === undefined && administrators) return;
  const counted = change.countScope(scope);
  if (counted >= limit) {
    throw new ThornkeyError("LIMIT_REACHED", `${scope} has ${counted} keys, and may have ${limit}`, {
      hint: "delete keys that are no longer needed, or have an administrator raise the limit",
    });
  }
}

/** So that the same request, sent again because its answer was lost, gets the same answer. */
export function remember(change: Change, request: Request, reply: unknown): void {
  if (request.requestKey !== undefined) change.rememberReply(request.requestKey, encodeStrictly(reply));
}

export function currentKey(change: Change, id: Uint8Array, name: string): StoredKey {
  const record = change.get(id);
  if (record === undefined) throw new ThornkeyError("KEY_NOT_FOUND", `key '${name}' was deleted meanwhile`);
  return storedKey(record);
}

export function namesOf(key: StoredKey) {
  return { full: key.name, bare: key.label, scope: key.scope };
}

export function kindOf({ handle }: KeyRecord): Kind {
  return handle === undefined ? KIND.key : KIND.resident;
}

export function forget(vault: OpenVault, id: string): void {
  vault.keyring.forget(id);
  vault.keyring.forgetNames();
}

function summary(key: StoredKey, rights: ReadonlySet<KeySummary["rights"][number]>): KeySummary {
  return {
    id: key.id,
    name: key.name,
    type: key.type,
    protection: key.protection,
    root: key.root,
    owner: key.owner,
    created: key.created,
    revision: key.generation,
    rights: [...rights],
  };
}

export async function infoOf(vault: OpenVault, request: Request, key: StoredKey): Promise<KeyInfo> {
  return { ...infoNow(vault, key), rights: [...(await rightsOn(key, request.caller, vault.authority))] };
}

export function infoNow(vault: OpenVault, key: StoredKey): KeyInfo {
  const figures = vault.ledger.of(key.id);
  const counted = key.uses;
  const last = Math.max(figures.last, counted?.last ?? 0);
  return {
    ...summary(key, new Set()),
    ...(key.publicKey && key.type !== "storage" && { publicKey: key.publicKey }),
    origin: key.origin,
    fixed: { ...key.fixed, uses: [...usesOf(key)] },
    policy: key.policy,
    enforced: enforcedLines(key),
    uses: {
      total: Math.max(figures.total, counted?.total ?? 0),
      thisBoot: Math.max(figures.thisBoot, usesInBoot(counted, vault.boot)),
      ...(last > 0 && { last }),
    },
    ...(key.notes && { notes: key.notes }),
    ...(key.wallet && {
      wallet: {
        name: key.wallet.name,
        path: key.wallet.path,
        masterId: key.wallet.masterId,
        ...(key.wallet.variant === "cardano" && { variant: key.wallet.variant }),
        watchOnly: key.wallet.watchOnly,
      },
    }),
  };
}

/** A secret of another operation becomes a key. */
export async function storeSecret(
  vault: OpenVault,
  request: Request,
  wanted: WantedKey,
  type: KeyType | undefined,
  secret: Secret,
  origin: KeyRecord["origin"],
): Promise<KeyInfo> {
  if (type !== undefined && factsOf(type).family === "symmetric") {
    const place = await placeFor(vault, request, wanted, type, false);
    return storeWrapped(vault, request, wanted, { type, secret, publicKey: undefined }, origin, place);
  }
  const parsed = secret.use((bytes) => parseMaterial(bytes, type));
  using material = parsed.secret;
  const place = await placeFor(vault, request, wanted, parsed.type, false);
  return storeWrapped(vault, request, wanted, { ...parsed, secret: material }, origin, place);
}
