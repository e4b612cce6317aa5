/** The storage key, under which all objects of this house are: found, or made once. */
import { equal, toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { CreatePrimary, EvictControl, ReadPublic } from "./commands.ts";
import { ALG, HANDLE, OBJECT } from "./constants.ts";
import { type Entity, plainEntity } from "./frame.ts";
import { FAULT, RC, TpmRefusal } from "./response-code.ts";
import { nameOf, type PublicArea } from "./structures.ts";
import { STORAGE_ROOT_KEY } from "./templates.ts";
import type { Tpm } from "./tpm.ts";

export interface Parent {
  readonly entity: Entity;
  readonly area: PublicArea;
}

/**
 * What is at 0x81000001, whoever put it there; a storage key of another program serves as well.
 *
 * @returns undefined when nothing is there
 * @throws ThornkeyError `ROOT_REFUSED` when it is no storage key
 */
export function findParent(tpm: Tpm, handle: number = HANDLE.srk): Parent | undefined {
  let area: PublicArea;
  try {
    area = tpm.run(ReadPublic, [plainEntity(handle)], {}, ["open"]).outPublic;
  } catch (error) {
    if (error instanceof TpmRefusal && isMissing(error)) return undefined;
    throw error;
  }
  const needed = OBJECT.restricted | OBJECT.decrypt | OBJECT.fixedTPM;
  if ((area.attributes & needed) !== needed || area.attributes & OBJECT.sign || area.type === ALG.keyedhash) {
    throw new ThornkeyError("ROOT_REFUSED", `what is in the TPM at 0x${handle.toString(16)} is no storage key`, {
      hint: `see 'tpm2_readpublic -c 0x${handle.toString(16)}'; if nobody needs it: tpm2_evictcontrol -c 0x${handle.toString(16)}`,
    });
  }
  return { entity: { handle, name: nameOf(area), auth: new Uint8Array(0) }, area };
}

function isMissing({ fault, responseCode }: TpmRefusal): boolean {
  return fault === FAULT.handle || (responseCode & ~7) === RC.referenceHandle;
}

/**
 * Makes the storage root key as Linux programs do, and keeps it in the TPM.
 *
 * @throws ThornkeyError `ROOT_REFUSED` when somebody has set an authorisation for the owner hierarchy; `TAMPERED`
 */
export function makeParent(tpm: Tpm): Parent {
  const owner = plainEntity(HANDLE.owner);
  const nothing = new Uint8Array(0);
  try {
    const { handle, outPublic } = tpm.run(
      CreatePrimary,
      [owner],
      {
        inSensitive: { userAuth: nothing, data: nothing },
        inPublic: STORAGE_ROOT_KEY,
        outsideInfo: nothing,
        creationPCR: [],
      },
      ["password"],
    );
    try {
      // There is no session yet that would vouch for the command: a changed bit makes a key of another kind.
      if (!isUsual(outPublic)) throw another();
      tpm.run(EvictControl, [owner, plainEntity(handle)], { persistent: HANDLE.srk }, ["password"]);
    } finally {
      tpm.flush(handle);
    }
  } catch (error) {
    if (!(error instanceof TpmRefusal) || error.fault !== FAULT.badAuth) throw error;
    throw new ThornkeyError("ROOT_REFUSED", "the TPM has no storage key yet, and its owner hierarchy has a password", {
      hint: "whoever set it makes the key: tpm2_createprimary -C o -G ecc, tpm2_evictcontrol -C o -c … 0x81000001",
      cause: error,
    });
  }
  const made = findParent(tpm);
  if (made === undefined) throw new ThornkeyError("ROOT_REFUSED", "the TPM does not keep its storage key");
  if (!isUsual(made.area)) throw another();
  return made;
}

/** All of it is the template's, but the point. */
function isUsual(area: PublicArea): boolean {
  const { unique } = STORAGE_ROOT_KEY;
  return equal(nameOf({ ...area, unique } as PublicArea), nameOf(STORAGE_ROOT_KEY));
}

function another(): ThornkeyError {
  return new ThornkeyError("TAMPERED", "the TPM made another storage key than it was asked for", {
    hint: "somebody or something changes what goes between processor and TPM: look at the wires",
  });
}

/** @returns what names the TPM: of its storage key's name, so it is another one after a Clear; 20 hexadecimal digits */
export function serialOf({ entity }: Pick<Parent, "entity">): string {
  return serialFrom(entity.name);
}

/** @param name of a storage key, 34 bytes */
export function serialFrom(name: Uint8Array): string {
  return toHex(name.subarray(2, 12));
}
