/**
 * PINs of users, for doors where the kernel's word alone is not enough: a policy may want `front:pkcs11-login`, where a
 * program has to show its user's PIN first. What is kept is a hash; so many wrong ones in a row, and only an
 * administrator helps.
 */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { PIN_TRIES } from "../../operations/pins.ts";
import type { OperationName } from "../../operations/table.ts";
import { userScope } from "../records.ts";
import { type Change, KIND } from "../store/state.ts";
import type { OpenVault, Request } from "../vault.ts";
import type { Handlers } from "./handler.ts";
import { remember } from "./keys.ts";
import { objectTitle } from "./objects.ts";

type Names = Extract<OperationName, `pin.${string}`>;

/** A PIN as the state holds it: an object of a class that operations on objects do not know. */
interface PinRecord {
  readonly version: 1;
  readonly scope: string;
  readonly label: "pin";
  readonly class: "pin";
  readonly owner: number;
  readonly created: number;
  /** Salt, 16 bytes, then scrypt (RFC 7914), 32 bytes. */
  readonly value: Uint8Array;
  /** Wrong ones since the last right one. */
  readonly failures: number;
}

const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** 16 MiB and some tens of milliseconds for each try. */
const COST = { N: 1 << 14, r: 8, p: 1 } as const;

export const pinHandlers: Handlers<Names> = {
  async "pin.set"(vault, request, { pin, before }) {
    const { uid } = request.caller.facts;
    const set = async () => {
      if (recordOf(vault, uid) !== undefined) await mustBeRight(vault, request, before ?? new Uint8Array(0));
      const salt = new Uint8Array(randomBytes(SALT_BYTES));
      const value = new Uint8Array([...salt, ...(await hashOf(pin, salt))]);
      const record = { ...blank(uid), created: vault.now(), value, failures: 0 };
      await write(vault, request, record, "pin.set", "chose a PIN", true);
      return {};
    };
    return inTurn(uid, set).finally(() => {
      pin.fill(0);
      before?.fill(0);
    });
  },

  async "pin.check"(vault, request, { pin }) {
    await inTurn(request.caller.facts.uid, () => mustBeRight(vault, request, pin)).finally(() => pin.fill(0));
    return {};
  },

  "pin.status"(vault, request) {
    const record = recordOf(vault, request.caller.facts.uid);
    return { chosen: record !== undefined, left: PIN_TRIES - (record?.failures ?? 0) };
  },

  async "pin.reset"(vault, request, { uid }) {
    const id = idOf(uid);
    await vault.state.change(
      (change) => {
        const found = change.get(id);
        if (found === undefined) throw notChosen(`user ${uid}`);
        change.remove(id);
        note(change, request, id, found.generation, blank(uid), "pin.reset", `the PIN of user ${uid} was taken away`);
        remember(change, request, {});
      },
      { counted: true },
    );
    return {};
  },
};

/** Tries of one user come one after the other: at once they would be more than there are. */
const turns = new Map<number, Promise<unknown>>();

async function inTurn<Result>(uid: number, work: () => Promise<Result>): Promise<Result> {
  const mine = (turns.get(uid) ?? Promise.resolve()).then(work, work);
  const settled = mine.catch(() => {});
  turns.set(uid, settled);
  try {
    return await mine;
  } finally {
    if (turns.get(uid) === settled) turns.delete(uid);
  }
}

/**
 * A wrong PIN is counted before it is answered, so that no try is lost with the vault.
 *
 * @throws ThornkeyError `NOT_PERMITTED` for a wrong one, `LIMIT_REACHED` after too many, `FILE_NOT_FOUND` without one
 */
async function mustBeRight(vault: OpenVault, request: Request, pin: Uint8Array): Promise<void> {
  const { uid } = request.caller.facts;
  const record = recordOf(vault, uid);
  if (record === undefined) throw notChosen("you");
  if (record.failures >= PIN_TRIES) throw locked();
  const salt = record.value.subarray(0, SALT_BYTES);
  const right = timingSafeEqual(await hashOf(pin, salt), record.value.subarray(SALT_BYTES));
  if (right && record.failures === 0) return;
  const failures = right ? 0 : record.failures + 1;
  const text = right ? "showed the right PIN again" : `showed a wrong PIN; ${PIN_TRIES - failures} tries are left`;
  await write(vault, request, { ...record, failures }, right ? "pin.right" : "pin.wrong", text);
  if (right) return;
  if (failures >= PIN_TRIES) throw locked();
  throw new ThornkeyError("NOT_PERMITTED", `the PIN is wrong; ${PIN_TRIES - failures} tries are left`);
}

/** @param last nothing follows, and the answer is the operation's */
function write(
  vault: OpenVault,
  request: Request,
  record: PinRecord,
  kind: string,
  text: string,
  last = false,
): Promise<void> {
  const id = idOf(record.owner);
  return vault.state.change(
    (change) => {
      const generation = change.put(KIND.object, id, undefined, record);
      note(change, request, id, generation, record, kind, `user ${record.owner} ${text}`);
      if (last) remember(change, request, {});
    },
    // An old copy of the state would bring tries back, or an old PIN.
    { counted: true },
  );
}

/** What a repair has to know of the record goes with it. */
function note(
  change: Change,
  request: Request,
  id: Uint8Array,
  generation: number,
  record: Pick<PinRecord, "scope" | "label" | "class">,
  kind: string,
  text: string,
): void {
  const object = objectTitle(record);
  const details = { record: { id: toHex(id), generation, object } };
  change.journal({ kind, text, caller: request.caller.facts, details });
}

function blank(uid: number): Omit<PinRecord, "created" | "value" | "failures"> {
  return { version: 1, scope: userScope(uid), label: "pin", class: "pin", owner: uid };
}

function recordOf(vault: OpenVault, uid: number): PinRecord | undefined {
  return vault.state.get(idOf(uid))?.body as PinRecord | undefined;
}

/** Of one user always the same; ids of everything else are random. */
function idOf(uid: number): Uint8Array {
  const id = new Uint8Array(16);
  id.set(new TextEncoder().encode("pin of user "));
  new DataView(id.buffer).setUint32(12, uid);
  return id;
}

function hashOf(pin: Uint8Array, salt: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    scrypt(pin, salt, HASH_BYTES, COST, (error, hash) => (error ? reject(error) : resolve(new Uint8Array(hash))));
  });
}

function notChosen(who: string): ThornkeyError {
  return new ThornkeyError("FILE_NOT_FOUND", `${who} chose no PIN`, { hint: "thornkey pin set" });
}

function locked(): ThornkeyError {
  return new ThornkeyError("LIMIT_REACHED", `the PIN is locked after ${PIN_TRIES} wrong ones`, {
    hint: "an administrator takes it away with 'thornkey pin reset --uid N'; then choose another",
  });
}
