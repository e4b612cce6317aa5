/** Encrypting and decrypting. */
import { aesCiphering } from "./aes-ciphers.ts";
import type { Application } from "./application.ts";
import type { SizeOnly } from "./calls.ts";
import { CKA, CKF, CKR } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import { CIPHER_ROWS, mustOffer } from "./mechanisms.ts";
import { flagOf, type TokenObject } from "./object.ts";
import { refuse } from "./refusals.ts";
import { rsaDecryption, rsaEncryption, rsaPaddingOf } from "./rsa-ciphers.ts";
import { active, type Ciphering, end, mustBeIdle, type Session } from "./session.ts";
import { cancel } from "./session-calls.ts";
import { mustBeFor } from "./signing.ts";

type Direction = "encrypt" | "decrypt";
type Output = [Uint8Array | SizeOnly];

export const cipherCalls: Handlers = {
  EncryptInit: (application, handle, mechanism, key) => begin(application, handle, mechanism, key, "encrypt"),
  Encrypt: (application, handle, data, room) => all(application.session(handle), "encrypt", data, room),
  EncryptUpdate: (application, handle, part, room) => more(application.session(handle), "encrypt", part, room),
  EncryptFinal: (application, handle, room) => rest(application.session(handle), "encrypt", room),
  DecryptInit: (application, handle, mechanism, key) => begin(application, handle, mechanism, key, "decrypt"),
  Decrypt: (application, handle, data, room) => all(application.session(handle), "decrypt", data, room),
  DecryptUpdate: (application, handle, part, room) => more(application.session(handle), "decrypt", part, room),
  DecryptFinal: (application, handle, room) => rest(application.session(handle), "decrypt", room),
};

function begin(
  application: Application,
  handle: number,
  mechanism: Mechanism | null,
  key: number,
  direction: Direction,
): [] | Promise<[]> {
  const session = application.session(handle);
  if (mechanism === null) return cancel(session, direction);
  mustBeIdle(session, direction);
  const start = (object: TokenObject): [] => {
    session.operations[direction] = createCiphering(application, object, mechanism, direction);
    return DONE;
  };
  const object = application.object(key, CKR.KEY_HANDLE_INVALID);
  return object instanceof Promise ? object.then(start) : start(object);
}

function createCiphering(
  application: Application,
  object: TokenObject,
  mechanism: Mechanism,
  direction: Direction,
): Ciphering {
  const encrypts = direction === "encrypt";
  const { keys } = mustOffer(mechanism.type, encrypts ? CKF.ENCRYPT : CKF.DECRYPT);
  const row = CIPHER_ROWS.get(mechanism.type) ?? refuse(CKR.MECHANISM_INVALID);
  mustBeFor(keys, object);
  const { backing, attributes } = object;
  if (!flagOf(attributes, encrypts ? CKA.ENCRYPT : CKA.DECRYPT)) refuse(CKR.KEY_FUNCTION_NOT_PERMITTED);
  if (row.scheme.startsWith("aes")) return aesCiphering(application, backing, mechanism, row, encrypts);
  const padding = rsaPaddingOf(row.scheme, mechanism);
  if (encrypts) {
    return backing.kind === "public"
      ? rsaEncryption(application, backing.part, padding)
      : refuse(CKR.KEY_TYPE_INCONSISTENT);
  }
  return backing.kind === "key" ? rsaDecryption(application, backing.key, padding) : refuse(CKR.KEY_TYPE_INCONSISTENT);
}

function all(session: Session, direction: Direction, data: Uint8Array | null, room: number): Output | Promise<Output> {
  if (active(session, direction).started) refuse(CKR.OPERATION_ACTIVE);
  return last(session, direction, data ?? new Uint8Array(0), room);
}

function rest(session: Session, direction: Direction, room: number): Output | Promise<Output> {
  return last(session, direction, new Uint8Array(0), room);
}

/**
 * The end of an operation. How long a plain text is shows only when it is there; one that does not fit is held until
 * somebody comes with more room.
 */
function last(session: Session, direction: Direction, data: Uint8Array, room: number): Output | Promise<Output> {
  const ciphering = active(session, direction);
  const { held } = ciphering;
  if (held !== undefined) return handOver(session, direction, held, room);
  const most = ciphering.room(data.length, true);
  if (room === 0 || (direction === "encrypt" && room < most)) return [{ size: most }];
  return then(
    attempt(session, direction, () => ciphering.push(data, true)),
    (result) => handOver(session, direction, result, room),
  );
}

function handOver(session: Session, direction: Direction, result: Uint8Array, room: number): Output {
  const ciphering = active(session, direction);
  if (result.length > room) {
    ciphering.held = result;
    return [{ size: result.length }];
  }
  ciphering.held = undefined;
  end(session, direction);
  return [result];
}

export function more(
  session: Session,
  direction: Direction,
  part: Uint8Array | null,
  room: number,
): Output | Promise<Output> {
  const ciphering = active(session, direction);
  if (part === null || ciphering.held !== undefined) refuse(CKR.ARGUMENTS_BAD);
  const size = ciphering.room(part.length, false);
  if (room === 0 || room < size) return [{ size }];
  ciphering.started = true;
  return then(
    attempt(session, direction, () => ciphering.push(part, false)),
    (result) => [result],
  );
}

/** What fails ends the operation. */
function attempt(
  session: Session,
  direction: Direction,
  step: () => Uint8Array | Promise<Uint8Array>,
): Uint8Array | Promise<Uint8Array> {
  const fail = (error: unknown): never => {
    end(session, direction);
    throw error;
  };
  try {
    const result = step();
    return result instanceof Promise ? result.catch(fail) : result;
  } catch (error) {
    return fail(error);
  }
}

function then<A, B>(value: A | Promise<A>, act: (value: A) => B): B | Promise<B> {
  return value instanceof Promise ? value.then(act) : act(value);
}
