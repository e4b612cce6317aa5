/**
 * Public keys of others by number, 0 to 127: unique objects `zymkey-foreign-N` of the caller.
 */
import { ThornkeyError } from "../../errors.ts";
import { KEY_TYPE_NAMES, type KeyType } from "../../operations/key-types.ts";
import type { ObjectSummary } from "../../operations/objects.ts";
import { pointOf, spkiOf } from "../../operations/public-keys.ts";
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

export function createForeignKeys(connected: () => Promise<Unit>): ForeignKeys {
  async function all(): Promise<Map<number, ObjectSummary>> {
    const { vault, uid } = await connected();
    const slots = new Map<number, ObjectSummary>();
    for await (const object of vault.objects.list({ class: "public-key" })) {
      const slot = numberIn(object.name, uid);
      if (slot !== undefined) slots.set(slot, object);
    }
    return slots;
  }

  async function at(slot: number): Promise<ObjectSummary> {
    mustBeSlot(slot);
    const object = (await all()).get(slot);
    if (object === undefined) throw new ThornkeyError("KEY_NOT_FOUND", `no foreign key is in slot ${slot}`);
    return object;
  }

  return {
    async store(type, point) {
      const value = spkiOf(type, point.length === 65 && point[0] === 4 ? point.subarray(1) : point);
      const { vault } = await connected();
      const taken = await all();
      for (let slot = 0; slot < MOST_FOREIGN; slot++) {
        if (taken.has(slot)) continue;
        try {
          await vault.objects.create({ name: nameOf(slot), class: "public-key", value, unique: true });
          return slot;
        } catch (error) {
          // Somebody else was quicker.
          if (!(error instanceof ThornkeyError) || error.code !== "KEY_EXISTS") throw error;
        }
      }
      throw new ThornkeyError("LIMIT_REACHED", `all ${MOST_FOREIGN} slots for foreign keys are taken`, {
        hint: "remove_key makes room",
      });
    },
    async publicKey(slot) {
      const { id } = await at(slot);
      const { value } = await (await connected()).vault.objects.show(id);
      const type = KEY_TYPE_NAMES.find((name) => pointOf(name, value) !== undefined);
      if (type === undefined) throw new ThornkeyError("MALFORMED", `what is in foreign slot ${slot} is no public key`);
      return { type, spki: value };
    },
    list: async () => [...(await all()).keys()].sort((a, b) => a - b),
    async remove(slot) {
      const { id } = await at(slot);
      await (await connected()).vault.objects.delete(id);
    },
  };
}

const FOREIGN = /^zymkey-foreign-(0|[1-9][0-9]{0,2})$/;
const nameOf = (slot: number) => `zymkey-foreign-${slot}`;

function numberIn(name: string, uid: number): number | undefined {
  const scope = `~${uid}/`;
  const [, digits] = name.startsWith(scope) ? (FOREIGN.exec(name.slice(scope.length)) ?? []) : [];
  return digits === undefined || Number(digits) >= MOST_FOREIGN ? undefined : Number(digits);
}

function mustBeSlot(slot: number): void {
  if (Number.isInteger(slot) && slot >= 0 && slot < MOST_FOREIGN) return;
  throw new ThornkeyError("USAGE", `there is no foreign slot ${String(slot).slice(0, 40)}`, {
    hint: `foreign slots are 0 to ${MOST_FOREIGN - 1}`,
  });
}
