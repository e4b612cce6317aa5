/** A counter in the TPM's memory. It goes up only, also when it is removed and made anew (Part 1, 37.2.6). */
import { Reader } from "../../bytes/reader.ts";
import { ThornkeyError } from "../../errors.ts";
import { GetCapability, NV_DefineSpace, NV_Increment, NV_Read } from "./commands.ts";
import { ALG, CAPABILITY, HANDLE, NV, RANGE } from "./constants.ts";
import { type Entity, plainEntity } from "./frame.ts";
import { again, isAway } from "./objects.ts";
import { FAULT, RC, TpmRefusal } from "./response-code.ts";
import { type NvPublic, nameOfNv } from "./structures.ts";
import type { Tpm } from "./tpm.ts";

/** Indices for owners begin at 0x01800000; other programs take the first ones. */
const FIRST_INDEX = 0x01800100;
const INDICES = 256;
const ATTRIBUTES = NV.authRead | NV.authWrite | NV.counter | NV.noDA;

/** @returns an index nobody uses */
export function freeIndex(tpm: Tpm): number {
  const { data } = tpm.run(GetCapability, [], { capability: CAPABILITY.handles, property: RANGE.nv, count: 254 });
  const taken = new Set(data.type === CAPABILITY.handles ? data.handles : []);
  for (let index = FIRST_INDEX; index < FIRST_INDEX + INDICES; index++) if (!taken.has(index)) return index;
  throw new ThornkeyError("ROOT_REFUSED", "the TPM has no room for another counter", {
    hint: "'tpm2_getcap handles-nv-index' shows whose they are",
  });
}

function publicOf(index: number, attributes: number): NvPublic {
  return { index, nameAlg: ALG.sha256, attributes, authPolicy: new Uint8Array(0), size: 8 };
}

/** Makes it, or finishes making it. */
export function defineCounter(tpm: Tpm, index: number, auth: Uint8Array): void {
  const owner = plainEntity(HANDLE.owner);
  try {
    tpm.run(NV_DefineSpace, [owner], { auth, publicInfo: publicOf(index, ATTRIBUTES) });
  } catch (error) {
    if (!(error instanceof TpmRefusal) || error.responseCode !== RC.nvDefined) throw error;
    if (isCounted(tpm, index, auth)) return;
  }
  // One that was never counted cannot be read.
  const entity = { handle: index, name: nameOfNv(publicOf(index, ATTRIBUTES)), auth };
  tpm.run(NV_Increment, [entity, entity], {});
}

/** Read in a session, and not by NV_ReadPublic: a counter wrongly taken for one that counts would never be read again. */
function isCounted(tpm: Tpm, index: number, auth: Uint8Array): boolean {
  try {
    counterAt(tpm, index, () => auth.slice()).read();
    return true;
  } catch (error) {
    if (error instanceof TpmRefusal) return false;
    throw error;
  }
}

export interface NvCounter {
  read(): number;
  /** @throws ThornkeyError `OUTCOME_UNKNOWN` when it moved by something else than one */
  increment(): number;
}

export function counterAt(tpm: Tpm, index: number, auth: () => Uint8Array): NvCounter {
  const name = nameOfNv(publicOf(index, ATTRIBUTES | NV.written));

  function withAuth<T>(body: (entity: Entity) => T): T {
    const value = auth();
    try {
      return body({ handle: index, name, auth: value });
    } catch (error) {
      if (error instanceof TpmRefusal && error.fault === FAULT.handle) {
        throw new ThornkeyError("ROOT_REFUSED", "the counter of this vault was removed from the TPM", {
          hint: "'thornkey repair' says what can still be proved; 'tpm2_getcap handles-nv-index' shows what is there",
          cause: error,
        });
      }
      throw error;
    } finally {
      value.fill(0);
    }
  }

  function read(): number {
    return withAuth((entity) => {
      const { data } = tpm.run(NV_Read, [entity, entity], { size: 8, offset: 0 });
      const reader = new Reader(data);
      return reader.u32be() * 2 ** 32 + reader.u32be();
    });
  }

  return {
    read: () => again(tpm, read),
    increment() {
      const before = again(tpm, read);
      for (let attempt = 1; ; attempt++) {
        try {
          withAuth((entity) => tpm.run(NV_Increment, [entity, entity], {}));
        } catch (error) {
          if (!isAway(error) && !isTampered(error)) throw error;
          tpm.drop();
        }
        // Its answer may have been lost or changed: what it says now decides.
        const after = again(tpm, read);
        if (after === before + 1) return after;
        if (after !== before || attempt === 2) {
          throw new ThornkeyError(
            "OUTCOME_UNKNOWN",
            `the TPM's counter went from ${before} to ${after}, not up by one`,
            {
              hint: "does another program count it?",
            },
          );
        }
      }
    },
  };
}

function isTampered(error: unknown): boolean {
  return error instanceof ThornkeyError && error.code === "TAMPERED";
}
