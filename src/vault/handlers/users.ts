/** People with tokens of their own. */
import { createHash } from "node:crypto";
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { MOST_PERSONS, PERSON_KEY_TYPES, type PersonKeyType, PRESENCE_SECONDS } from "../../operations/persons.ts";
import { pointOf, rsaPublicOf } from "../../operations/public-keys.ts";
import type { OperationName, PersonInfo } from "../../operations/table.ts";
import { type Change, KIND, type OpenRecord } from "../store/state.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";
import { remember } from "./keys.ts";
import { objectTitle } from "./objects.ts";

type Names = Extract<OperationName, `user.${string}`>;

/** A person as the state holds him: an object of a class that operations on objects do not know. */
export interface PersonRecord {
  readonly version: 1;
  readonly scope: "~persons";
  /** His name. */
  readonly label: string;
  readonly class: "person";
  readonly owner: 0;
  readonly created: number;
  readonly type: PersonKeyType;
  /** SubjectPublicKeyInfo */
  readonly value: Uint8Array;
}

export const userHandlers: Handlers<Names> = {
  "user.challenge": (vault, request, { name }) => ({
    challenge: vault.persons.challenge(request.caller.facts.uid, name),
    device: vault.header.device,
    uid: request.caller.facts.uid,
  }),

  async "user.enroll"(vault, request, { name, publicKey, signature }) {
    const type = typeOf(publicKey);
    // Who does not hold the key cannot be enrolled with it, by mistake or otherwise.
    vault.persons.check(request.caller.facts.uid, name, { type, publicKey }, signature);
    const id = idOf(name);
    await vault.state.change(
      (change) => {
        if (change.get(id) !== undefined) {
          throw new ThornkeyError("KEY_EXISTS", `${name} is enrolled already`, {
            hint: `thornkey user remove ${name}`,
          });
        }
        if (persons(change.ofKind(KIND.object)).length >= MOST_PERSONS) {
          throw new ThornkeyError("LIMIT_REACHED", `${MOST_PERSONS} people are enrolled already`);
        }
        const record: PersonRecord = {
          ...{ version: 1, scope: "~persons", label: name, class: "person", owner: 0 },
          ...{ created: vault.now(), type, value: publicKey },
        };
        const generation = change.put(KIND.object, id, undefined, record);
        note(change, request, record, id, generation, "user.enrolled", `${name} was enrolled with a key of a token`);
        remember(change, request, {});
      },
      { counted: true },
    );
    return {};
  },

  "user.list": (vault, request) => ({
    users: persons(vault.state.ofKind(KIND.object)).map((record) => infoOf(vault, request, record)),
  }),

  async "user.remove"(vault, request, { name }) {
    const id = idOf(name);
    const others = new Set(persons(vault.state.ofKind(KIND.object)).map(({ label }) => label));
    others.delete(name);
    const last = vault.device.demands.find(
      ({ persons: names }) => names.includes(name) && !names.some((one) => others.has(one)),
    );
    if (last !== undefined) {
      throw new ThornkeyError("USAGE", `${name} is the last one who can be there for '${last.what}'`, {
        hint: `end the demand first: thornkey device change --demand ${last.what}=`,
      });
    }
    await vault.state.change(
      (change) => {
        const found = change.get(id);
        if (found === undefined) throw unknown(name);
        change.remove(id);
        const record = found.body as PersonRecord;
        note(change, request, record, id, found.generation, "user.removed", `${name} is no longer enrolled`);
        remember(change, request, {});
        change.afterwards(() => vault.persons.leave(name));
      },
      { counted: true },
    );
    return {};
  },

  async "user.prove"(vault, request, { name, signature, seconds = PRESENCE_SECONDS.usual }) {
    const { uid } = request.caller.facts;
    const record = vault.state.get(idOf(name))?.body as PersonRecord | undefined;
    if (record === undefined) throw unknown(name);
    vault.persons.check(uid, name, { type: record.type, publicKey: record.value }, signature);
    await vault.state.change((change) =>
      change.journal({
        kind: "user.present",
        text: `${name} showed his token, and is there for user ${uid} for ${seconds} seconds`,
        caller: request.caller.facts,
      }),
    );
    vault.persons.arrive(uid, name, seconds);
    return { until: vault.now() + seconds * 1000 };
  },
};

/** @throws ThornkeyError `MALFORMED` */
function typeOf(publicKey: Uint8Array): PersonKeyType {
  const type = PERSON_KEY_TYPES.find((one) => pointOf(one, publicKey) ?? rsaPublicOf(one, publicKey));
  if (type !== undefined) return type;
  throw new ThornkeyError("MALFORMED", `a person's key is a public key of type ${PERSON_KEY_TYPES.join(", ")}`);
}

export function persons(records: readonly OpenRecord[]): PersonRecord[] {
  return records.map(({ body }) => body as PersonRecord).filter((body) => body.class === "person");
}

function infoOf(vault: OpenVault, request: Request, { label, type, value, created }: PersonRecord): PersonInfo {
  const until = vault.persons.present(request.caller.facts.uid).find(({ name }) => name === label)?.until;
  const fingerprint = createHash("sha256").update(value).digest("hex");
  return { name: label, type, fingerprint, created, ...(until !== undefined && { until }) };
}

/** Of one name always the same, so that there is one of each. */
function idOf(name: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(`person ${name}`).digest().subarray(0, 16));
}

function note(
  change: Change,
  request: Request,
  record: Pick<PersonRecord, "scope" | "label" | "class">,
  id: Uint8Array,
  generation: number,
  kind: string,
  text: string,
): void {
  const details = { record: { id: toHex(id), generation, object: objectTitle(record) } };
  change.journal({ kind, text, caller: request.caller.facts, details });
}

function unknown(name: string): ThornkeyError {
  return new ThornkeyError("KEY_NOT_FOUND", `nobody is enrolled as '${name}'`, {
    hint: "'thornkey user list' shows who is",
  });
}
