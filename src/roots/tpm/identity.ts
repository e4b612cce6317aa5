/**
 * Which TPM it is, and whether it was cleared since. TPM2_Clear makes a new storage seed and leaves the endorsement seed
 * (Part 3, 24.6), and a primary key is a function of its seed and its template: so the endorsement key names the chip, and
 * the primary key under the storage hierarchy names what the chip has kept since its last Clear.
 */
import { equal } from "../../bytes/bytes.ts";
import { CreatePrimary } from "./commands.ts";
import { HANDLE } from "./constants.ts";
import { type Entity, plainEntity } from "./frame.ts";
import { isAway } from "./objects.ts";
import { TpmRefusal } from "./response-code.ts";
import { nameOf, type PublicArea } from "./structures.ts";
import { ENDORSEMENT_KEY, STORAGE_ROOT_KEY } from "./templates.ts";
import type { Tpm } from "./tpm.ts";

export interface TpmIdentity {
  /** Name of the endorsement key on P-256, 34 bytes; empty when the TPM would not make it. */
  readonly endorsement: Uint8Array;
  /** Name of the storage root key of the usual template, which need not be the one that is used; 34 bytes, or empty. */
  readonly storage: Uint8Array;
}

/** `here`: the seeds are the same. `cleared`: the chip is the same, and its storage seed another. `other`: nothing is proved. */
export type Fate = "here" | "cleared" | "other";

const NOTHING = new Uint8Array(0);

/** Has a primary key made from its seed, which takes a chip some tenths of a second, and flushes it. */
export function withPrimary<T>(
  tpm: Tpm,
  hierarchy: number,
  template: PublicArea,
  body: (key: Entity, area: PublicArea) => T,
): T {
  const { handle, outPublic } = tpm.run(CreatePrimary, [plainEntity(hierarchy)], {
    inSensitive: { userAuth: NOTHING, data: NOTHING },
    inPublic: template,
    outsideInfo: NOTHING,
    creationPCR: [],
  });
  try {
    return body({ handle, name: nameOf(outPublic), auth: NOTHING }, outPublic);
  } finally {
    tpm.flush(handle);
  }
}

/** To be asked in a session that proves the answers. A hierarchy with somebody else's password makes nothing here. */
export function identityOf(tpm: Tpm): TpmIdentity {
  const nameIn = (hierarchy: number, template: PublicArea): Uint8Array => {
    try {
      return withPrimary(tpm, hierarchy, template, ({ name }) => name);
    } catch (error) {
      if (!(error instanceof TpmRefusal)) throw error;
      return NOTHING;
    }
  };
  return {
    endorsement: nameIn(HANDLE.endorsement, ENDORSEMENT_KEY),
    storage: nameIn(HANDLE.owner, STORAGE_ROOT_KEY),
  };
}

/**
 * What became of the TPM with this identity. It has to prove that it has the endorsement key: the storage key is asked for
 * in a session salted to that one. The connection is dropped afterwards.
 *
 * @throws ThornkeyError `ROOT_UNAVAILABLE`
 */
export function fateOf(tpm: Tpm, { endorsement, storage }: TpmIdentity): Fate {
  if (endorsement.length === 0 || storage.length === 0) return "other";
  tpm.unsalt();
  try {
    return withPrimary(tpm, HANDLE.endorsement, ENDORSEMENT_KEY, (key, area) => {
      if (!equal(key.name, endorsement)) return "other";
      tpm.salt(key, area);
      return withPrimary(tpm, HANDLE.owner, STORAGE_ROOT_KEY, ({ name }) =>
        equal(name, storage) ? "here" : "cleared",
      );
    });
  } catch (error) {
    if (isAway(error)) throw error;
    return "other";
  } finally {
    tpm.unsalt();
    tpm.drop();
  }
}
