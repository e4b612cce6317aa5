/**
 * The token as one caller sees it. What keys there are is asked of the vault each time somebody searches, so that a key
 * made or deleted by another door shows at once; what a key is never changes and is asked once.
 */
import { equal } from "../../bytes/bytes.ts";
import type { KeySummary, OperationName, ReplyOf } from "../../operations/table.ts";
import { createHandles, type Handles } from "./handles.ts";
import { type KeyFacts, keyFactsOf, labelOf } from "./key-facts.ts";
import { objectsOf } from "./key-objects.ts";
import type { TokenObject } from "./object.ts";
import { storedObject } from "./stored-objects.ts";

/** One operation of the vault, for this caller. */
export type Ask = <Name extends OperationName>(name: Name, args: object) => Promise<ReplyOf<Name>>;

/** Of the whole front. */
export interface Shared {
  readonly handles: Handles;
  /** By id. */
  readonly facts: Map<string, KeyFacts | "no key">;
  /** Objects of the vault by id, as they were at a revision. */
  readonly objects: Map<string, { readonly revision: number; readonly object: TokenObject | undefined }>;
  /** The vault's id, once it was asked. */
  device: string | undefined;
}

export function createShared(): Shared {
  return { handles: createHandles(), facts: new Map(), objects: new Map(), device: undefined };
}

export interface Token {
  /** @returns the vault's id, 32 hexadecimal digits */
  device(): string | Promise<string>;
  /** @returns every object of the token the caller has any right on; the keys he may use come first */
  list(): Promise<readonly TokenObject[]>;
  /** @returns an object that was listed, or undefined */
  object(handle: number): TokenObject | undefined;
  /** Learns of a key that was just made. @returns its objects */
  add(facts: KeyFacts): readonly TokenObject[];
  /** Learns of an object that was just made. */
  addStored(id: string): Promise<TokenObject | undefined>;
}

/** An item of a list, with what tells whether it is what is known already. */
type Listed = Pick<KeySummary, "id" | "revision">;

/** Keys and objects whose facts are kept. */
const KEPT_FACTS = 4096;
/** Requests of one caller at the vault at a time. */
const AT_ONCE = 32;

export function createToken(ask: Ask, uid: number, shared: Shared): Token {
  const { handles, facts } = shared;
  let objects = new Map<number, TokenObject>();
  /** By id and label. */
  let made = new Map<string, readonly TokenObject[]>();
  /** What was listed last; programs ask again and again, and nothing has changed. */
  let listed: { readonly version: Uint8Array; readonly all: readonly TokenObject[] } | undefined;

  function learn(id: string, fact: KeyFacts | undefined): KeyFacts | undefined {
    facts.set(id, fact ?? "no key");
    dropOldest(facts);
    return fact;
  }

  async function factsOfKey({ id, revision }: Listed): Promise<KeyFacts | undefined> {
    const known = facts.get(id);
    if (known === "no key") return undefined;
    if (known?.revision === revision) return known;
    try {
      return learn(id, keyFactsOf((await ask("key.show", { key: id })).key));
    } catch (error) {
      if ((error as { code?: string }).code === "KEY_NOT_FOUND") return undefined; // deleted meanwhile
      throw error;
    }
  }

  async function keys(): Promise<KeyFacts[]> {
    const usable: Listed[] = [];
    const others: Listed[] = [];
    let after: string | undefined;
    do {
      const page = await ask("key.list", { limit: 500, ...(after !== undefined && { after }) });
      for (const key of page.keys) (key.rights.includes("use") ? usable : others).push(key);
      after = page.more ? page.after : undefined;
    } while (after !== undefined);
    const listed = [...usable, ...others];
    const found: KeyFacts[] = [];
    for (let start = 0; start < listed.length; start += AT_ONCE) {
      const some = await Promise.all(listed.slice(start, start + AT_ONCE).map(factsOfKey));
      for (const key of some) if (key !== undefined) found.push(key);
    }
    return found;
  }

  function objectsNamed(key: KeyFacts, label: string): readonly TokenObject[] {
    return made.get(`${key.id} ${key.revision} ${label}`) ?? objectsOf(key, label, handles);
  }

  async function storedOnes(): Promise<TokenObject[]> {
    const listed: Listed[] = [];
    let after: string | undefined;
    do {
      const page = await ask("object.list", { limit: 500, ...(after !== undefined && { after }) });
      listed.push(...page.objects);
      after = page.more ? page.after : undefined;
    } while (after !== undefined);
    const found: TokenObject[] = [];
    for (let start = 0; start < listed.length; start += AT_ONCE) {
      const some = await Promise.all(listed.slice(start, start + AT_ONCE).map(storedOne));
      for (const object of some) if (object !== undefined) found.push(object);
    }
    return found;
  }

  async function storedOne({ id, revision }: Listed): Promise<TokenObject | undefined> {
    const known = shared.objects.get(id);
    if (known?.revision === revision) return known.object;
    try {
      const { object: info } = await ask("object.show", { object: id });
      const object = storedObject(info, handles);
      shared.objects.set(id, { revision: info.revision, object });
      dropOldest(shared.objects);
      return object;
    } catch (error) {
      if ((error as { code?: string }).code === "KEY_NOT_FOUND") return undefined;
      throw error;
    }
  }

  return {
    device: () =>
      shared.device ??
      ask("status", {}).then(({ device }) => {
        shared.device = device;
        return device;
      }),
    async list() {
      const { version } = await ask("version", {});
      if (listed !== undefined && equal(version, listed.version)) return listed.all;
      const [found, stored] = await Promise.all([keys(), storedOnes()]);
      const mine = new Set(found.filter(({ owner }) => owner === uid).map(labelOf));
      const named = found.map((key) => {
        // Two users' keys of one name: the caller's own has it.
        const taken = key.owner !== uid && mine.has(labelOf(key));
        return { key, label: taken ? key.name : labelOf(key) };
      });
      const next = new Map(
        named.map(({ key, label }) => [`${key.id} ${key.revision} ${label}`, objectsNamed(key, label)]),
      );
      made = next;
      const all = [...[...next.values()].flat(), ...stored];
      objects = new Map(all.map((object) => [object.handle, object]));
      // What changed after the version was asked for has another, and is listed the next time.
      listed = { version, all };
      return all;
    },
    object: (handle) => objects.get(handle),
    async addStored(id) {
      const object = await storedOne({ id, revision: 0 });
      if (object !== undefined) objects.set(object.handle, object);
      return object;
    },
    add(key) {
      learn(key.id, key);
      const label = labelOf(key);
      const own = objectsNamed(key, label);
      made.set(`${key.id} ${key.revision} ${label}`, own);
      for (const object of own) objects.set(object.handle, object);
      return own;
    },
  };
}

function dropOldest(map: Map<string, unknown>): void {
  if (map.size <= KEPT_FACTS) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
