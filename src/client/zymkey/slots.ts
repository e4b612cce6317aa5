/**
 * Slots are keys by number: slot 16 is the caller's key `zymkey-slot-16`. Numbers are given out by making a key of that
 * name, which fails when another process has made it; so no two ever get the same.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { ThornkeyError } from "../../errors.ts";
import type { KeyType } from "../../operations/key-types.ts";
import type { Policy } from "../../operations/policy.ts";
import { pointOf } from "../../operations/public-keys.ts";
import type { KeySummary } from "../../operations/table.ts";
import type { Thornkey } from "../thornkey.ts";

export const EPHEMERAL_KEY_SLOT = -1;
/** P-256 keys that are there from the beginning: made when they are first used. */
export const FACTORY_SLOTS: readonly number[] = [0, 1, 2];
export const FIRST_USER_SLOT = 16;
export const LAST_USER_SLOT = 527;
/** All keys there can be. */
export const MOST_KEYS = FACTORY_SLOTS.length + LAST_USER_SLOT - FIRST_USER_SLOT + 1;

const KEY_TYPE_OF: { readonly [name: string]: KeyType } = {
  nistp256: "p256",
  secp256r1: "p256",
  secp256k1: "secp256k1",
  ed25519: "ed25519",
  x25519: "x25519",
};
export type KeyTypeName = "nistp256" | "secp256r1" | "secp256k1" | "ed25519" | "x25519";

/** A connection, and whose it is. */
export interface Unit {
  readonly vault: Thornkey;
  readonly uid: number;
}

/** A key with a public part: what signatures are checked with, and secrets agreed with. */
export interface PublicKey {
  readonly type: KeyType;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
}

export interface Slots {
  /** @returns the name of the key in a slot; a factory key is made when it is not there. @throws ThornkeyError `USAGE` */
  key(slot: number): Promise<string>;
  publicKey(slot: number): Promise<PublicKey>;
  /**
   * Has a key made in the first free slot.
   *
   * @param make makes a key of this name; `KEY_EXISTS` means that the slot is taken
   * @throws ThornkeyError `LIMIT_REACHED` when all are
   */
  allocate<T>(make: (name: string) => Promise<T>): Promise<{ slot: number; made: T }>;
  /** @returns the highest free slot, which others reach last: for a key that is made later. */
  reserve(): Promise<number>;
  list(): Promise<number[]>;
  remove(slot: number): Promise<void>;
  /** @returns the slot of a key, or -1 when it is in none */
  slotOf(id: string): Promise<number>;
  newEphemeral(type: KeyType): Promise<void>;
  /** @returns whether there was one */
  dropEphemeral(): Promise<boolean>;
}

/** @throws ThornkeyError `USAGE` */
export function keyTypeOf(name: string): KeyType {
  const type = Object.hasOwn(KEY_TYPE_OF, name) ? KEY_TYPE_OF[name] : undefined;
  if (type !== undefined) return type;
  throw new ThornkeyError("USAGE", `there is no key type '${String(name).slice(0, 40)}'`, {
    hint: `it is one of ${Object.keys(KEY_TYPE_OF).join(", ")}`,
  });
}

/** Who makes a key here uses it; root would not by itself. */
export function policyOf({ uid }: Unit): Policy | undefined {
  return uid === 0 ? { allow: [{ who: "uid:0", rights: ["use"] }] } : undefined;
}

/** @returns X and Y, or the 32 bytes of Ed25519 and X25519 */
export function pointIn({ type, spki }: PublicKey): Uint8Array {
  const point = pointOf(type, spki);
  if (point === undefined) throw new ThornkeyError("NOT_SUPPORTED", `a key of type ${type} has no such form`);
  return new Uint8Array(point);
}

const SLOT = /^zymkey-slot-(0|[1-9][0-9]{0,2})$/;
const nameOf = (slot: number) => `zymkey-slot-${slot}`;

export function createSlots(connected: () => Promise<Unit>): Slots {
  let ephemeral: string | undefined;
  /** Factory slots whose key is there. */
  const furnished = new Set<number>();

  async function list(): Promise<number[]> {
    const { vault, uid } = await connected();
    const slots: number[] = [];
    for await (const key of vault.keys.list()) {
      const slot = numberIn(key.name, uid);
      if (slot !== undefined) slots.push(slot);
    }
    return slots.sort((a, b) => a - b);
  }

  async function key(slot: number): Promise<string> {
    if (slot === EPHEMERAL_KEY_SLOT) {
      if (ephemeral !== undefined) return ephemeral;
      throw new ThornkeyError("KEY_NOT_FOUND", "there is no ephemeral key", {
        hint: "gen_ephemeral_key_pair makes one",
      });
    }
    mustBeSlot(slot);
    const unit = await connected();
    const name = `~${unit.uid}/${nameOf(slot)}`;
    if (FACTORY_SLOTS.includes(slot) && !furnished.has(slot)) {
      await makeFactoryKey(unit, slot, name);
      furnished.add(slot);
    }
    return name;
  }

  async function publicKey(slot: number): Promise<PublicKey> {
    const { vault } = await connected();
    const name = await key(slot);
    try {
      const { type, publicKey: spki } = await vault.keys.public(name);
      if (type === "storage") throw new ThornkeyError("USAGE", `slot ${slot} holds a storage key`);
      return { type, spki };
    } catch (error) {
      // A factory key that somebody removed is made anew.
      if (!isCode(error, "KEY_NOT_FOUND") || !furnished.delete(slot)) throw error;
      return publicKey(slot);
    }
  }

  return {
    key,
    publicKey,
    async allocate(make) {
      const taken = new Set(await list());
      for (let slot = FIRST_USER_SLOT; slot <= LAST_USER_SLOT; slot++) {
        if (taken.has(slot)) continue;
        try {
          return { slot, made: await make(nameOf(slot)) };
        } catch (error) {
          const { uid, vault } = await connected();
          // Taken meanwhile; or something else exists already, which another slot does not change.
          if (!isCode(error, "KEY_EXISTS") || !(await exists(vault, `~${uid}/${nameOf(slot)}`))) throw error;
        }
      }
      throw full();
    },
    async reserve() {
      const taken = new Set(await list());
      for (let slot = LAST_USER_SLOT; slot >= FIRST_USER_SLOT; slot--) if (!taken.has(slot)) return slot;
      throw full();
    },
    list,
    async remove(slot) {
      if (slot === EPHEMERAL_KEY_SLOT || FACTORY_SLOTS.includes(slot)) {
        throw new ThornkeyError("NOT_PERMITTED", `slot ${slot} holds no key of the user, which alone can be removed`, {
          hint: slot < 0 ? "invalidate_ephemeral_key removes that one" : "'thornkey key delete' removes any key",
        });
      }
      const name = await key(slot);
      await (await connected()).vault.keys.delete(name);
    },
    async slotOf(id) {
      const { vault, uid } = await connected();
      const { name } = await vault.keys.show(id);
      return numberIn(name, uid) ?? -1;
    },
    async newEphemeral(type) {
      const unit = await connected();
      await sweep(unit);
      const made = await unit.vault.keys.create({ name: newEphemeralName(), type, policy: policyOf(unit) });
      const before = ephemeral;
      ephemeral = made.id;
      if (before !== undefined) await forget(unit, before);
    },
    async dropEphemeral() {
      const before = ephemeral;
      ephemeral = undefined;
      if (before !== undefined) await forget(await connected(), before);
      return before !== undefined;
    },
  };
}

/** @throws ThornkeyError `USAGE` when there is no such slot */
function mustBeSlot(slot: number): void {
  const user = Number.isInteger(slot) && slot >= FIRST_USER_SLOT && slot <= LAST_USER_SLOT;
  if (user || FACTORY_SLOTS.includes(slot)) return;
  throw new ThornkeyError("USAGE", `there is no slot ${String(slot).slice(0, 40)}`, {
    hint: `slots are 0, 1, 2, and ${FIRST_USER_SLOT} to ${LAST_USER_SLOT} for keys of the user; -1 is the ephemeral key`,
  });
}

async function exists({ keys }: Thornkey, name: string): Promise<boolean> {
  try {
    await keys.show(name);
    return true;
  } catch (error) {
    if (isCode(error, "KEY_NOT_FOUND")) return false;
    throw error;
  }
}

/** Inside the root, where it has room; like one that was there always. */
async function makeFactoryKey(unit: Unit, slot: number, name: string): Promise<void> {
  if (await exists(unit.vault, name)) return;
  const wanted = { name: nameOf(slot), type: "p256", policy: policyOf(unit) } as const;
  try {
    await unit.vault.keys.create({ ...wanted, protection: "resident" }).catch((error) => {
      if (isCode(error, "NOT_SUPPORTED") || isCode(error, "ROOT_REFUSED")) return unit.vault.keys.create(wanted);
      throw error;
    });
  } catch (error) {
    // Another process was faster, and it is the same key.
    if (!isCode(error, "KEY_EXISTS")) throw error;
  }
}

/** @returns the slot a key of this user is in */
function numberIn(name: string, uid: number): number | undefined {
  const scope = `~${uid}/`;
  const [, digits] = name.startsWith(scope) ? (SLOT.exec(name.slice(scope.length)) ?? []) : [];
  return digits === undefined ? undefined : Number(digits);
}

async function forget({ vault }: Unit, id: string): Promise<void> {
  await vault.keys.delete(id).catch((error) => {
    if (!isCode(error, "KEY_NOT_FOUND")) throw error;
  });
}

/**
 * Ephemeral keys are named after the process they belong to, so that those of processes that were killed can be told:
 * PID namespace, process, and when it began.
 */
const EPHEMERAL = /^zymkey-ephemeral-(\d+)-(\d+)-(\d+)-[0-9a-f]{8}$/;

function newEphemeralName(): string {
  return `zymkey-ephemeral-${namespaceOfProcesses()}-${process.pid}-${startOf(process.pid)}-${randomBytes(4).toString("hex")}`;
}

/** Removes what killed processes left. */
async function sweep(unit: Unit): Promise<void> {
  const left: KeySummary[] = [];
  for await (const key of unit.vault.keys.list()) {
    const [, namespace, pid, start] = EPHEMERAL.exec(key.name.replace(`~${unit.uid}/`, "")) ?? [];
    if (namespace === namespaceOfProcesses() && start !== startOf(Number(pid))) left.push(key);
  }
  for (const { id } of left) await forget(unit, id);
}

function namespaceOfProcesses(): string {
  return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
}

/** @returns when a process began, in ticks since the device's start; `0` when there is none. proc_pid_stat(5), field 22 */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The program's name before may hold spaces and brackets.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "0";
  } catch {
    return "0";
  }
}

export function isCode(error: unknown, code: ThornkeyError["code"]): boolean {
  return error instanceof ThornkeyError && error.code === code;
}

function full(): ThornkeyError {
  return new ThornkeyError("LIMIT_REACHED", `all slots from ${FIRST_USER_SLOT} to ${LAST_USER_SLOT} are taken`, {
    hint: "remove_key makes room",
  });
}
