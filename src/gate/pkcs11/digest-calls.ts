/** Digests, which the gate makes, and random numbers, which the vault does. */

import { concat } from "../../bytes/bytes.ts";
import type { Application } from "./application.ts";
import { CKF, CKR } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import { HASHES, hashOf, mustOffer } from "./mechanisms.ts";
import { hashed } from "./message.ts";
import { mustHaveNone } from "./parameters.ts";
import { refuse } from "./refusals.ts";
import { active, ending, mustBeIdle } from "./session.ts";
import { cancel } from "./session-calls.ts";

export const digestCalls: Handlers = {
  DigestInit(application, handle, mechanism) {
    const session = application.session(handle);
    if (mechanism === null) return cancel(session, "digest");
    mustBeIdle(session, "digest");
    mustOffer(mechanism.type, CKF.DIGEST);
    mustHaveNone(mechanism);
    const name = hashOf(mechanism.type) ?? refuse(CKR.MECHANISM_INVALID);
    session.operations.digest = { ...hashed(name), size: HASHES[name].size, started: false };
    return DONE;
  },
  Digest(application, handle, data, room) {
    const session = application.session(handle);
    const digest = active(session, "digest");
    if (digest.started) refuse(CKR.OPERATION_ACTIVE);
    if (room < digest.size) return [{ size: digest.size }];
    digest.update(data ?? new Uint8Array(0));
    return [ending(session, "digest", () => digest.finish()) as Uint8Array];
  },
  DigestUpdate(application, handle, part) {
    const digest = active(application.session(handle), "digest");
    if (part === null) refuse(CKR.ARGUMENTS_BAD);
    digest.started = true;
    digest.update(part);
    return DONE;
  },
  async DigestKey(application, handle, key) {
    const digest = active(application.session(handle), "digest");
    const { backing } = await application.object(key, CKR.KEY_HANDLE_INVALID);
    if (backing.kind !== "value") refuse(CKR.KEY_INDIGESTIBLE);
    digest.started = true;
    backing.value.use((bytes) => digest.update(bytes));
    return DONE;
  },
  DigestFinal(application, handle, room) {
    const session = application.session(handle);
    const digest = active(session, "digest");
    if (room < digest.size) return [{ size: digest.size }];
    return [ending(session, "digest", () => digest.finish()) as Uint8Array];
  },

  /** The vault mixes root and kernel, and takes nothing from programs. */
  SeedRandom(application, handle) {
    application.session(handle);
    return refuse(CKR.RANDOM_SEED_NOT_SUPPORTED);
  },
  async GenerateRandom(application, handle, length) {
    application.session(handle);
    return [await randomBytes(application, length)];
  },
};

/** Bytes asked of the vault at a time. */
const AT_ONCE = 32_768;
const MOST_RANDOM = 1 << 20;

/** @returns exactly so many */
export async function randomBytes({ ask }: Application, length: number): Promise<Uint8Array> {
  if (length > MOST_RANDOM) refuse(CKR.ARGUMENTS_BAD);
  const parts: Uint8Array[] = [];
  for (let left = length; left > 0; left -= AT_ONCE) {
    parts.push((await ask("random", { length: Math.min(left, AT_ONCE) })).random);
  }
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  const all = concat(...parts);
  for (const part of parts) part.fill(0);
  return all;
}
