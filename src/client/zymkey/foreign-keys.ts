/**
 * Public keys of others by number, 0 to 127: objects `zymkey-foreign-N` of the caller. Names of objects need not differ,
 * so a number is whose object of that name was made first; whoever sees that another was first takes the next.
 */
import { setTimeout as delay } from "node:timers/promises";
import { ThornkeyError } from "../../errors.ts";
import { KEY_TYPE_NAMES, type KeyType } from "../../operations/key-types.ts";
import { pointOf, spkiOf } from "../../operations/public-keys.ts";
import { isOperation } from "../../operations/table.ts";
import type { Thornkey } from "../thornkey.ts";
import type { PublicKey, Unit } from "./slots.ts";

export const MOST_FOREIGN = 128;

export interface ForeignKeys {
  /** @param point X and Y, with 04 before it or not, or 32 bytes. @returns its slot. @throws ThornkeyError `LIMIT_REACHED` */
  store(type: KeyType, point: Uint8Array): Promise<number>;
  /** @throws ThornkeyError `USAGE` for what is no slot, `KEY_NOT_FOUND` for an empty one */
  publicKey(slot: number): Promise<PublicKey>;
  list(): Promise<number[]>;
  remove(slot: number): Promise<void>;
}

/** What is needed of the operations on objects. */
interface ObjectSummary {
  readonly id: string;
  readonly name: string;
  readonly created: number;
}
type AskObjects = (operation: `object.${string}`, args: object) => Promise<unknown>;

/** Longer than a tick of the clock that objects are dated by. Milliseconds. */
const SETTLED = 5;

export function createForeignKeys(connected: () => Promise<Unit>): ForeignKeys {
  /** Every object of a slot, the first made first. */
  async function all(): Promise<Map<number, ObjectSummary[]>> {
    const { vault, uid } = await connected();
    const ask = objectsOf(vault);
    const slots = new Map<number, ObjectSummary[]>();
    let after: string | undefined;
    for (let more = true; more; ) {
      const page = (await ask("object.list", { class: "public-key", ...(after !== undefined && { after }) })) as {
        objects: readonly ObjectSummary[];
        more: boolean;
        after?: string;
      };
      for (const object of page.objects) {
        const slot = numberIn(object.name, uid);
        if (slot !== undefined) slots.set(slot, [...(slots.get(slot) ?? []), object].sort(byAge));
      }
      ({ more, after } = page);
    }
    return slots;
  }

  async function at(slot: number): Promise<ObjectSummary> {
    mustBeSlot(slot);
    const [first] = (await all()).get(slot) ?? [];
    if (first === undefined) throw new ThornkeyError("KEY_NOT_FOUND", `no foreign key is in slot ${slot}`);
    return first;
  }

  return {
    async store(type, point) {
      const value = spkiOf(type, point.length === 65 && point[0] === 4 ? point.subarray(1) : point);
      const { vault } = await connected();
      const ask = objectsOf(vault);
      const taken = await all();
      for (let slot = 0; slot < MOST_FOREIGN; slot++) {
        if (taken.has(slot)) continue;
        const { object } = (await ask("object.create", { name: nameOf(slot), class: "public-key", value })) as {
          object: ObjectSummary;
        };
        await delay(SETTLED);
        if ((await all()).get(slot)?.[0]?.id === object.id) return slot;
        await ask("object.delete", { object: object.id });
      }
      throw new ThornkeyError("LIMIT_REACHED", `all ${MOST_FOREIGN} slots for foreign keys are taken`, {
        hint: "remove_key makes room",
      });
    },
    async publicKey(slot) {
      const { id } = await at(slot);
      const ask = objectsOf((await connected()).vault);
      const { object } = (await ask("object.show", { object: id })) as { object: { value: Uint8Array } };
      const type = KEY_TYPE_NAMES.find((name) => pointOf(name, object.value) !== undefined);
      if (type === undefined) throw new ThornkeyError("MALFORMED", `what is in foreign slot ${slot} is no public key`);
      return { type, spki: object.value };
    },
    list: async () => [...(await all()).keys()].sort((a, b) => a - b),
    async remove(slot) {
      mustBeSlot(slot);
      const objects = (await all()).get(slot) ?? [];
      if (objects.length === 0) throw new ThornkeyError("KEY_NOT_FOUND", `no foreign key is in slot ${slot}`);
      const ask = objectsOf((await connected()).vault);
      for (const { id } of objects) await ask("object.delete", { object: id });
    },
  };
}

/** @throws ThornkeyError `NOT_SUPPORTED` when this release keeps no objects */
function objectsOf({ call }: Thornkey): AskObjects {
  if (isOperation("object.create")) return call as unknown as AskObjects;
  throw new ThornkeyError("NOT_SUPPORTED", "this release keeps no public keys of others", {
    hint: "verify with the key itself, or give it to ecdh as bytes",
  });
}

const FOREIGN = /^zymkey-foreign-(0|[1-9][0-9]{0,2})$/;
const nameOf = (slot: number) => `zymkey-foreign-${slot}`;

function numberIn(name: string, uid: number): number | undefined {
  const scope = `~${uid}/`;
  const [, digits] = name.startsWith(scope) ? (FOREIGN.exec(name.slice(scope.length)) ?? []) : [];
  return digits === undefined || Number(digits) >= MOST_FOREIGN ? undefined : Number(digits);
}

function byAge(a: ObjectSummary, b: ObjectSummary): number {
  return a.created - b.created || (a.id < b.id ? -1 : 1);
}

function mustBeSlot(slot: number): void {
  if (Number.isInteger(slot) && slot >= 0 && slot < MOST_FOREIGN) return;
  throw new ThornkeyError("USAGE", `there is no foreign slot ${String(slot).slice(0, 40)}`, {
    hint: `foreign slots are 0 to ${MOST_FOREIGN - 1}`,
  });
}
