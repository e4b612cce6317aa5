/** Signing, with and without recovery of the message. */
import type { Application } from "./application.ts";
import { CKR } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import type { Mechanism } from "./mechanism-forms.ts";
import type { TokenObject } from "./object.ts";
import { refuse } from "./refusals.ts";
import { active, end, ending, mustBeIdle, type Session, type Signing } from "./session.ts";
import { cancel } from "./session-calls.ts";
import { createSigning } from "./signing.ts";

export const signCalls: Handlers = {
  SignInit: (application, handle, mechanism, key) => begin(application, handle, mechanism, key, false),
  SignRecoverInit: (application, handle, mechanism, key) => begin(application, handle, mechanism, key, true),

  Sign(application, handle, data, room) {
    const session = application.session(handle);
    return whole(session, signingOf(session, false), data, room);
  },
  SignRecover(application, handle, data, room) {
    const session = application.session(handle);
    return whole(session, signingOf(session, true), data, room);
  },
  SignUpdate(application, handle, part) {
    const session = application.session(handle);
    const signing = signingOf(session, false);
    if (part === null) refuse(CKR.ARGUMENTS_BAD);
    return feed(session, signing, part);
  },
  SignFinal(application, handle, room) {
    const session = application.session(handle);
    const signing = signingOf(session, false);
    if (room < signing.size) return [{ size: signing.size }];
    return made(ending(session, "sign", () => signing.finish()));
  },
};

function begin(
  application: Application,
  handle: number,
  mechanism: Mechanism | null,
  key: number,
  recovers: boolean,
): [] | Promise<[]> {
  const session = application.session(handle);
  if (mechanism === null) return cancel(session, "sign");
  mustBeIdle(session, "sign");
  const start = (object: TokenObject): [] => {
    session.operations.sign = createSigning(application, object, mechanism, recovers);
    return DONE;
  };
  const object = application.object(key, CKR.KEY_HANDLE_INVALID);
  return object instanceof Promise ? object.then(start) : start(object);
}

function signingOf(session: Session, recovers: boolean): Signing {
  const signing = active(session, "sign");
  return signing.recovers === recovers ? signing : refuse(CKR.OPERATION_NOT_INITIALIZED);
}

function whole(session: Session, signing: Signing, data: Uint8Array | null, room: number) {
  if (signing.started) refuse(CKR.OPERATION_ACTIVE);
  if (room < signing.size) return [{ size: signing.size }] as [{ size: number }];
  return made(
    ending(session, "sign", () => {
      signing.update(data ?? new Uint8Array(0));
      return signing.finish();
    }),
  );
}

/** A part that cannot be taken ends the operation. */
function feed(session: Session, signing: Signing, part: Uint8Array): [] {
  signing.started = true;
  try {
    signing.update(part);
  } catch (error) {
    end(session, "sign");
    throw error;
  }
  return DONE;
}

function made(signature: Uint8Array | Promise<Uint8Array>): [Uint8Array] | Promise<[Uint8Array]> {
  return signature instanceof Promise ? signature.then((bytes) => [bytes]) : [signature];
}
