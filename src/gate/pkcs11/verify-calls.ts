/** Checking signatures, with and without recovery of the message. */
import { CKR } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import type { TokenObject } from "./object.ts";
import { refuse } from "./refusals.ts";
import { active, end, ending, mustBeIdle, type Session } from "./session.ts";
import { cancel } from "./session-calls.ts";
import { createRecovering, createVerifying } from "./verifying.ts";

export const verifyCalls: Handlers = {
  VerifyInit(application, handle, mechanism, key) {
    const session = application.session(handle);
    if (mechanism === null) return cancel(session, "verify");
    mustBeIdle(session, "verify");
    const start = (object: TokenObject): [] => {
      session.operations.verify = createVerifying(application, object, mechanism);
      return DONE;
    };
    const object = application.object(key, CKR.KEY_HANDLE_INVALID);
    return object instanceof Promise ? object.then(start) : start(object);
  },
  Verify(application, handle, data, signature) {
    const session = application.session(handle);
    if (active(session, "verify").started) refuse(CKR.OPERATION_ACTIVE);
    return checked(session, data ?? new Uint8Array(0), signature);
  },
  VerifyUpdate(application, handle, part) {
    const session = application.session(handle);
    const verifying = active(session, "verify");
    if (part === null) refuse(CKR.ARGUMENTS_BAD);
    verifying.started = true;
    try {
      verifying.update(part);
    } catch (error) {
      end(session, "verify");
      throw error;
    }
    return DONE;
  },
  VerifyFinal: (application, handle, signature) => checked(application.session(handle), new Uint8Array(0), signature),

  VerifyRecoverInit(application, handle, mechanism, key) {
    const session = application.session(handle);
    if (mechanism === null) return cancel(session, "recover");
    mustBeIdle(session, "recover");
    const start = (object: TokenObject): [] => {
      session.operations.recover = createRecovering(object, mechanism);
      return DONE;
    };
    const object = application.object(key, CKR.KEY_HANDLE_INVALID);
    return object instanceof Promise ? object.then(start) : start(object);
  },
  VerifyRecover(application, handle, signature, room) {
    const session = application.session(handle);
    const recovering = active(session, "recover");
    if (room === 0) return [{ size: recovering.most }];
    let message: Uint8Array;
    try {
      message = recovering.recover(signature ?? new Uint8Array(0));
    } catch (error) {
      end(session, "recover");
      throw error;
    }
    if (message.length > room) return [{ size: message.length }];
    end(session, "recover");
    return [message];
  },
};

function checked(session: Session, last: Uint8Array, signature: Uint8Array | null): [] | Promise<[]> {
  const verifying = active(session, "verify");
  const result = ending(session, "verify", () => {
    verifying.update(last);
    return verifying.finish(signature ?? new Uint8Array(0));
  });
  return result instanceof Promise ? result.then(() => DONE) : DONE;
}
