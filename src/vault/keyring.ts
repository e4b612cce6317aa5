/**
 * The keys of an open vault: found by the name a caller uses, opened once, kept ready while they are in use.
 */
import { hkdfSync } from "node:crypto";
import { fromHex, toHex } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";
import { ThornkeyError } from "../errors.ts";
import { encodeStrictly } from "../operations/protocol.ts";
import { pointOf } from "../operations/public-keys.ts";
import { loadKey } from "./material/load.ts";
import type { LoadedKey } from "./material/material.ts";
import { isUserScope, type StoredKey, storedKey, userScope } from "./records.ts";
import { type Authority, type Caller, noSuchKey, rightsOn } from "./rights.ts";
import { type LoadedStorageKey, loadStorageKey } from "./storage-key/storage-key.ts";
import { openWith, sealWith } from "./store/sealing.ts";
import { isKey, type State } from "./store/state.ts";
import { loadCardanoKey } from "./wallets/cardano-key.ts";

export interface Keyring {
  /**
   * The key a caller means. A bare name is his own key of that name, or else the one he has any right on.
   *
   * @throws ThornkeyError `KEY_NOT_FOUND`, also for a key he has no right on; `USAGE` when the name fits several
   */
  find(name: string, caller: Caller): StoredKey | Promise<StoredKey>;
  byId(id: string): StoredKey | undefined;
  /** The private part, ready for use. @param ingredient what the policy wants presented */
  load(key: StoredKey, ingredient: Uint8Array | undefined): LoadedKey;
  loadStorage(key: StoredKey): LoadedStorageKey;
  /** The private part as it is kept: a copy, the caller's to destroy. @throws ThornkeyError `NOT_SUPPORTED` for none */
  material(key: StoredKey): Secret;
  /** After a change: what is remembered of the key is forgotten. */
  forget(id: string): void;
  /** The same, but the private part stays ready. */
  forgetRecord(id: string): void;
  /** After a change of names or rights. */
  forgetNames(): void;
  close(): void;
}

/** Keys whose native objects are kept. */
const KEPT_KEYS = 4096;
const KEPT_RECORDS = 20_000;
const KEPT_NAMES = 20_000;

export function createKeyring(state: State, authority: Authority): Keyring {
  const records = new Map<string, StoredKey>();
  const loaded = new Map<string, LoadedKey>();
  const storage = new Map<string, LoadedStorageKey>();
  /** What a caller's name meant the last time: uid, space, name → id. */
  const names = new Map<string, string>();

  const byId = (id: string): StoredKey | undefined => {
    const known = records.get(id);
    if (known !== undefined) return known;
    const record = state.get(fromHex(id));
    if (record === undefined || !isKey(record.kind)) return undefined;
    return keep(records, id, storedKey(record), KEPT_RECORDS);
  };

  async function search(name: string, caller: Caller): Promise<StoredKey> {
    const visible = async (key: StoredKey | undefined) =>
      key !== undefined && (await rightsOn(key, caller, authority)).size > 0 ? key : undefined;
    if (/^[0-9a-f]{32}$/.test(name)) {
      const key = await visible(byId(name));
      if (key) return key;
    }
    if (name.includes("/")) {
      const record = state.byName(name);
      const key = await visible(record && storedKey(record));
      if (key === undefined) throw noSuchKey(name);
      return key;
    }
    const own = state.byName(`${userScope(caller.facts.uid)}/${name}`);
    if (own !== undefined) return storedKey(own);
    const candidates: StoredKey[] = [];
    for (const record of state.byBareName(name)) {
      const key = await visible(storedKey(record));
      if (key !== undefined) candidates.push(key);
    }
    const [first, second] = candidates;
    if (first === undefined) throw noSuchKey(name);
    if (second !== undefined) {
      throw new ThornkeyError("USAGE", `'${name}' could be ${candidates.map((key) => key.name).join(" or ")}`, {
        hint: "say which, with its scope before it",
      });
    }
    return first;
  }

  return {
    byId,
    find(name, caller) {
      const remembered = `${caller.facts.uid} ${caller.facts.gid} ${name}`;
      const id = names.get(remembered);
      const key = id === undefined ? undefined : byId(id);
      // A name alone gives no right: whoever asks for the key looks at its policy each time.
      if (key !== undefined) return key;
      return search(name, caller).then((found) => {
        // Somebody whose right hangs on his program or unit is looked up each time.
        if (found.owner === caller.facts.uid && isUserScope(found.scope)) keep(names, remembered, found.id, KEPT_NAMES);
        return keep(records, found.id, found, KEPT_RECORDS);
      });
    },
    load(key, ingredient) {
      if (key.type === "storage")
        throw new ThornkeyError("USAGE", `'${key.name}' opens locked objects, and nothing else`);
      if (key.fixed.ingredient) {
        // Never kept: it must be presented every time.
        using secret = unsealMaterial(key, ingredient);
        return loaderOf(key)(key.type, secret);
      }
      if (ingredient !== undefined) {
        throw new ThornkeyError("USAGE", `key '${key.name}' wants no ingredient`);
      }
      const known = loaded.get(key.id);
      if (known !== undefined) return touched(loaded, key.id, known);
      using secret = unsealMaterial(key, undefined);
      const fresh = loaderOf(key)(key.type, secret);
      // A key whose uses are numbered may have had its last one: it is opened for each.
      if (key.fixed.maximumUses !== undefined) return fresh;
      return keep(loaded, key.id, fresh, KEPT_KEYS, (old) => old.close());
    },
    loadStorage(key) {
      if (key.type !== "storage") throw new ThornkeyError("USAGE", `'${key.name}' is no storage key`);
      const known = storage.get(key.id);
      if (known !== undefined) return known;
      using secret = unsealMaterial(key, undefined);
      return keep(storage, key.id, loadStorageKey(secret), KEPT_KEYS, (old) => old.close());
    },
    material: (key) => unsealMaterial(key, undefined),
    forget(id) {
      records.delete(id);
      loaded.get(id)?.close();
      loaded.delete(id);
      storage.get(id)?.close();
      storage.delete(id);
    },
    forgetRecord: (id) => void records.delete(id),
    forgetNames: () => names.clear(),
    close() {
      for (const key of [...loaded.values(), ...storage.values()]) key.close();
      storage.clear();
      loaded.clear();
      records.clear();
      names.clear();
    },
  };
}

/** Puts something into a map that holds so much at most; the one that was not used for longest goes. */
function keep<V>(map: Map<string, V>, key: string, value: V, limit: number, drop?: (old: V) => void): V {
  map.set(key, value);
  if (map.size > limit) {
    const [oldest] = map;
    if (oldest !== undefined) {
      map.delete(oldest[0]);
      drop?.(oldest[1]);
    }
  }
  return value;
}

function touched<V>(map: Map<string, V>, key: string, value: V): V {
  if (map.size > KEPT_KEYS / 2) {
    map.delete(key);
    map.set(key, value);
  }
  return value;
}

/** An extended key of a wallet is no PKCS#8. */
function loaderOf({ wallet, publicKey }: StoredKey): typeof loadKey {
  if (wallet?.variant !== "cardano" || publicKey === undefined) return loadKey;
  const point = pointOf("ed25519", publicKey) ?? new Uint8Array(0);
  return (_type, secret) => loadCardanoKey(point, secret);
}

const MATERIAL_PLACE = (id: Uint8Array) => encodeStrictly(["material", id]);

function ingredientKey(ingredient: Uint8Array, id: Uint8Array): Secret {
  return new Secret(new Uint8Array(hkdfSync("sha256", ingredient, id, "thornkey ingredient", 32)));
}

/**
 * A private part as it goes into the record, which is sealed itself. With an ingredient it is sealed once more, so that
 * not even the whole vault opens it without.
 *
 * @throws ThornkeyError `USAGE` when policy and ingredient do not fit
 */
export function sealMaterial(
  id: Uint8Array,
  secret: Secret,
  wanted: boolean,
  ingredient: Uint8Array | undefined,
): Uint8Array {
  if (wanted !== (ingredient !== undefined)) {
    throw new ThornkeyError(
      "USAGE",
      wanted ? "the policy wants an ingredient" : "an ingredient without a policy for it",
      {
        hint: "give both: the policy's 'ingredient', and the bytes",
      },
    );
  }
  if (ingredient === undefined) return secret.use((bytes) => bytes.slice());
  using key = ingredientKey(ingredient, id);
  return key.use((bytes) => secret.use((plaintext) => sealWith(bytes, MATERIAL_PLACE(id), plaintext)));
}

function unsealMaterial(key: StoredKey, ingredient: Uint8Array | undefined): Secret {
  if (key.material === undefined)
    throw new ThornkeyError("NOT_SUPPORTED", `key '${key.name}' has no private part here`);
  if (!key.fixed.ingredient) return new Secret(key.material.slice());
  if (ingredient === undefined) {
    throw new ThornkeyError("NOT_PERMITTED", `key '${key.name}': its ingredient must be presented at every use`);
  }
  using sealer = ingredientKey(ingredient, key.idBytes);
  try {
    return sealer.use((bytes) => new Secret(openWith(bytes, MATERIAL_PLACE(key.idBytes), key.material as Uint8Array)));
  } catch {
    throw new ThornkeyError("NOT_PERMITTED", `key '${key.name}': this is not its ingredient`);
  }
}

/** @returns the id as it stands in answers */
export function idText(id: Uint8Array): string {
  return toHex(id);
}
