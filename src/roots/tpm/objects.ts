/**
 * Objects of a vault in a TPM: loaded when they are used, and flushed when nobody asks for more. The last two stay while
 * uses follow each other. A TPM has room for three, and what loads needs two places: the persistent storage key takes one
 * as well as long as it works.
 */
import { equal } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { Load, ReadPublic } from "./commands.ts";
import { HANDLE } from "./constants.ts";
import { type Entity, plainEntity } from "./frame.ts";
import { nameOf } from "./structures.ts";
import type { Tpm } from "./tpm.ts";
import type { KeyFile } from "./tss2.ts";

export interface Objects {
  /**
   * @param auth the object's authValue
   * @param body is given the loaded object; called once more when the TPM was restarted in it
   */
  use<T>(file: KeyFile, auth: Uint8Array, body: (object: Entity) => T): T;
  /** Has a second object loaded beside the one in use, for a moment. */
  beside<T>(file: KeyFile, auth: Uint8Array, body: (object: Entity) => T): T;
  /** What a key file is under, kept in the TPM. @throws ThornkeyError `NOT_SUPPORTED` */
  parentOf(file: KeyFile): Entity;
  /** Flushes what is loaded. */
  rest(): void;
}

export function objectsOf(tpm: Tpm, parent: () => Entity): Objects {
  /** What was used last is last. */
  let loaded: Loaded[] = [];

  function load(file: KeyFile, auth: Uint8Array): Entity {
    const name = nameFor(file);
    if (loaded[0]?.epoch !== tpm.epoch) loaded = [];
    let there = loaded.find((one) => equal(one.name, name));
    if (there === undefined) {
      makeRoom();
      const handle = loadNow(file, name);
      if (loaded[0]?.epoch !== tpm.epoch) loaded = [];
      there = { name, handle, epoch: tpm.epoch };
      loaded.push(there);
    } else if (there !== loaded.at(-1)) loaded.reverse();
    return { handle: there.handle, name, auth };
  }

  /** Keeps what was used last, and nothing else. */
  function makeRoom(): void {
    while (loaded.length > 1) {
      const [oldest] = loaded.splice(0, 1);
      if (oldest?.epoch === tpm.epoch) tpm.flush(oldest.handle);
    }
  }

  function loadNow(file: KeyFile, name: Uint8Array): number {
    const loading = tpm.run(Load, [parentOf(file)], { inPrivate: file.privatePart, inPublic: file.area });
    if (equal(loading.name, name)) return loading.handle;
    tpm.flush(loading.handle);
    throw new ThornkeyError("TAMPERED", "the TPM loaded another object than it was given");
  }

  function beside<T>(file: KeyFile, auth: Uint8Array, body: (object: Entity) => T): T {
    const name = nameFor(file);
    makeRoom();
    const handle = loadNow(file, name);
    try {
      return body({ handle, name, auth });
    } finally {
      tpm.flush(handle);
    }
  }

  function parentOf({ parent: handle }: KeyFile): Entity {
    const usual = parent();
    if (handle === HANDLE.owner || handle === usual.handle) return usual;
    if (handle >>> 24 !== 0x81) {
      throw new ThornkeyError(
        "NOT_SUPPORTED",
        `the parent 0x${handle.toString(16)} of this key is not kept in the TPM`,
      );
    }
    const { outPublic } = tpm.run(ReadPublic, [plainEntity(handle)], {}, ["open"]);
    return { handle, name: nameOf(outPublic), auth: new Uint8Array(0) };
  }

  function rest(): void {
    const all = loaded;
    loaded = [];
    for (const { handle, epoch } of all) if (epoch === tpm.epoch) tpm.flush(handle);
  }

  return { use: (file, auth, body) => again(tpm, () => body(load(file, auth))), beside, parentOf, rest };
}

interface Loaded {
  readonly name: Uint8Array;
  readonly handle: number;
  readonly epoch: number;
}

const names = new WeakMap<KeyFile, Uint8Array>();

function nameFor(file: KeyFile): Uint8Array {
  const known = names.get(file);
  if (known !== undefined) return known;
  const name = nameOf(file.area);
  names.set(file, name);
  return name;
}

/** Times a thing that may be repeated is done when the TPM was away in the middle. */
const TRIES = 3;

/** Does once more what the TPM's restart, or a lost connection, interrupted. Only for what may be done twice. */
export function again<T>(tpm: Tpm, body: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return body();
    } catch (error) {
      if (!isAway(error) || attempt === TRIES) throw error;
      tpm.drop();
    }
  }
}

export function isAway(error: unknown): boolean {
  return error instanceof ThornkeyError && error.code === "ROOT_UNAVAILABLE";
}
