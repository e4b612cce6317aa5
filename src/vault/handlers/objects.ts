/** Certificates, public keys of others, data of programs: kept for those who may see them. */
import { fromHex, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { OBJECT_CLASSES, type ObjectClass, type ObjectInfo, type ObjectSummary } from "../../operations/objects.ts";
import type { Grant } from "../../operations/policy.ts";
import type { OperationName } from "../../operations/table.ts";
import { fullName } from "../records.ts";
import { rightsOn } from "../rights.ts";
import { KIND, newId, type OpenRecord, objectNames } from "../store/state.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";
import { mustBeReadable, mustHaveRoom, remember, scopeFor } from "./keys.ts";
import { listPage } from "./paging.ts";

type Names = Extract<
  OperationName,
  "object.create" | "object.list" | "object.show" | "object.change" | "object.delete"
>;

/** An object as the state holds it. */
interface ObjectRecord {
  /** Version of this form. */
  readonly version: 1;
  readonly scope: string;
  readonly label: string;
  readonly class: ObjectClass;
  readonly owner: number;
  readonly created: number;
  readonly value: Uint8Array;
  /** Id of the key it belongs to. */
  readonly key?: string | undefined;
  readonly application?: string | undefined;
  readonly keyId?: Uint8Array | undefined;
  readonly attributes?: Uint8Array | undefined;
  readonly public?: boolean | undefined;
  readonly unique?: boolean | undefined;
  readonly allow?: readonly Grant[] | undefined;
}

function isObjectClass(name: unknown): boolean {
  return (OBJECT_CLASSES as readonly unknown[]).includes(name);
}

type Sight = "manage" | "observe" | undefined;

export const objectHandlers: Handlers<Names> = {
  async "object.create"(vault, request, { name, key, ...fields }) {
    const place = await scopeFor(vault, request, name);
    mustBeReadable(fields);
    const owner = request.caller.facts.uid;
    const belongsTo = key === undefined ? undefined : (await vault.keyring.find(key, request.caller)).id;
    const record: ObjectRecord = {
      version: 1,
      ...place,
      owner,
      created: vault.now(),
      ...fields,
      ...(belongsTo && { key: belongsTo }),
    };
    const id = newId();
    const object = await vault.state.change((change) => {
      mustHaveRoom(vault, change, request, place.scope);
      const revision = change.put(KIND.object, id, objectNames(id, record), record);
      change.journal({
        kind: "object.created",
        text: `${objectTitle(record)} was stored`,
        caller: request.caller.facts,
        details: recordIn(id, revision, record),
      });
      const made = summary(id, revision, record, "manage");
      remember(change, request, { object: made });
      return made;
    });
    return { object };
  },

  async "object.list"(vault, request, { class: wanted, ...where }) {
    const { items, ...rest } = await listPage(vault, where, async (stored) => {
      const record = objectIn(stored);
      if (record === undefined || (wanted !== undefined && record.class !== wanted)) return undefined;
      const sight = await sightOf(vault, request, record);
      return sight && summary(stored.id, stored.generation, record, sight);
    });
    return { objects: items, ...rest };
  },

  async "object.show"(vault, request, { object: name }) {
    const { stored, record, sight } = await find(vault, request, name);
    const { scope: _scope, label: _label, version: _version, unique: _unique, ...shown } = record;
    const info = { ...shown, ...summary(stored.id, stored.generation, record, sight) } as ObjectInfo;
    return { object: info };
  },

  async "object.change"(vault, request, { object: name, name: wanted, key, ...fields }) {
    mustBeReadable(fields);
    const { stored, record, sight } = await find(vault, request, name);
    if (sight !== "manage") throw mayNot(record);
    const slash = wanted?.indexOf("/") ?? -1;
    if (wanted !== undefined && slash >= 0 && wanted.slice(0, slash) !== record.scope) {
      throw new ThornkeyError("USAGE", "an object cannot change its scope");
    }
    const label = wanted?.slice(slash + 1);
    const belongsTo = key === undefined ? undefined : (await vault.keyring.find(key, request.caller)).id;
    const object = await vault.state.change((change) => {
      const current = change.get(stored.id);
      const before = current && objectIn(current);
      if (before === undefined) throw noSuchObject(name);
      const body: ObjectRecord = {
        ...before,
        ...fields,
        value: fields.value ?? before.value,
        ...(label !== undefined && { label }),
        ...(belongsTo && { key: belongsTo }),
      };
      const revision = change.put(KIND.object, stored.id, objectNames(stored.id, body), body);
      change.journal({
        kind: "object.changed",
        text: `${objectTitle(body)} was changed`,
        caller: request.caller.facts,
        details: recordIn(stored.id, revision, body),
      });
      const made = summary(stored.id, revision, body, "manage");
      remember(change, request, { object: made });
      return made;
    });
    return { object };
  },

  async "object.delete"(vault, request, { object: name }) {
    const { stored, record, sight } = await find(vault, request, name);
    if (sight !== "manage") throw mayNot(record);
    const id = toHex(stored.id);
    await vault.state.change((change) => {
      change.remove(stored.id);
      change.journal({
        kind: "object.deleted",
        text: `${objectTitle(record)} was removed`,
        caller: request.caller.facts,
        details: recordIn(stored.id, stored.generation, record),
      });
      remember(change, request, { id });
    });
    return { id };
  },
};

/** @throws ThornkeyError `STATE_DAMAGED`; it was sealed, so this can only be another release's */
function objectIn({ kind, body }: OpenRecord): ObjectRecord | undefined {
  if (kind !== KIND.object) return undefined;
  const record = body as ObjectRecord;
  if (!isObjectClass(record?.class)) return undefined; // a PIN
  if (record?.version === 1) return record;
  throw new ThornkeyError("STATE_DAMAGED", "an object that this release cannot read", {
    hint: "was Thornkey downgraded? The release that wrote it can read it",
  });
}

/** Who owns or manages it, whom it names, and who has any right on its key. */
async function sightOf(vault: OpenVault, request: Request, record: ObjectRecord): Promise<Sight> {
  const rights = await rightsOn({ ...record, policy: { allow: record.allow } }, request.caller, vault.authority);
  if (rights.has("manage")) return "manage";
  if (record.public || rights.size > 0) return "observe";
  const key = record.key === undefined ? undefined : vault.keyring.byId(record.key);
  if (key === undefined) return undefined;
  return (await rightsOn(key, request.caller, vault.authority)).size > 0 ? "observe" : undefined;
}

async function find(vault: OpenVault, request: Request, name: string) {
  const slash = name.indexOf("/");
  const label = name.slice(slash + 1);
  const scope = slash < 0 ? undefined : name.slice(0, slash);
  const byId = /^[0-9a-f]{32}$/.test(name) ? vault.state.get(fromHex(name)) : undefined;
  const candidates = byId ? [byId] : vault.state.byBareName(`#${label}`);
  const found = [];
  for (const stored of candidates) {
    const record = objectIn(stored);
    if (record === undefined || (scope !== undefined && record.scope !== scope)) continue;
    const sight = await sightOf(vault, request, record);
    if (sight) found.push({ stored, record, sight });
  }
  const [first, second] = found;
  if (first === undefined) throw noSuchObject(name);
  if (second === undefined) return first;
  throw new ThornkeyError("USAGE", `there are ${found.length} objects '${name}'`, {
    hint: `say which by its id: ${found.map(({ stored }) => toHex(stored.id)).join(", ")}`,
  });
}

function summary(id: Uint8Array, revision: number, record: ObjectRecord, sight: Sight): ObjectSummary {
  return {
    id: toHex(id),
    name: fullName(record.scope, record.label),
    class: record.class,
    owner: record.owner,
    created: record.created,
    revision,
    length: record.value.length,
    ...(record.key !== undefined && { key: record.key }),
    mayManage: sight === "manage",
  };
}

/** So that a repair knows which records must be there, and which must not come back. */
function recordIn(id: Uint8Array, generation: number, record: ObjectRecord) {
  const object = objectTitle(record);
  return { record: { id: toHex(id), generation, object } };
}

/** @returns how people know it: `certificate ~1000/tls` */
export function objectTitle(record: { class: ObjectClass | "pin" | "person"; scope: string; label: string }): string {
  return `${nounOf(record)} ${fullName(record.scope, record.label)}`;
}

function nounOf({ class: name }: { class: ObjectClass | "pin" | "person" }): string {
  const nouns: { [Name in ObjectClass | "pin" | "person"]: string } = {
    certificate: "certificate",
    "public-key": "public key",
    data: "data",
    pin: "PIN",
    person: "person",
  };
  return nouns[name];
}

function noSuchObject(name: string): ThornkeyError {
  return new ThornkeyError("KEY_NOT_FOUND", `there is no object '${name}'`, {
    hint: "GET /v1/objects lists those you may see",
  });
}

function mayNot(record: ObjectRecord): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", `you have no right to change '${fullName(record.scope, record.label)}'`);
}
