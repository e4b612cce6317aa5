/** Sessions and logging in. */
import type { Application } from "./application.ts";
import { CKF, CKR, CKS, CKU } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import { refuse } from "./refusals.ts";
import { active, end, type Operations, type Session } from "./session.ts";
import { mustBeSlot, SLOT } from "./slot-calls.ts";

export const sessionCalls: Handlers = {
  OpenSession(application, slot, flags) {
    mustBeSlot(slot);
    return [application.openSession(flags).handle];
  },
  CloseSession(application, handle) {
    application.closeSession(handle);
    return DONE;
  },
  CloseAllSessions(application, slot) {
    mustBeSlot(slot);
    application.closeAllSessions();
    return DONE;
  },
  GetSessionInfo(application, handle) {
    const session = application.session(handle);
    const flags = CKF.SERIAL_SESSION | (session.readWrite ? CKF.RW_SESSION : 0);
    return [SLOT, stateOf(application, session), flags, 0];
  },

  /** With any PIN or none: who somebody is the kernel has told already. */
  Login(application, handle, user) {
    application.session(handle);
    return login(application, user);
  },
  LoginUser(application, handle, user) {
    application.session(handle);
    return login(application, user);
  },
  Logout(application, handle) {
    application.session(handle);
    if (!application.loggedIn) refuse(CKR.USER_NOT_LOGGED_IN);
    application.logout();
    return DONE;
  },

  /** There is no security officer who could set a user's PIN, and there is no PIN. */
  InitPIN(application, handle) {
    application.session(handle);
    return refuse(CKR.USER_NOT_LOGGED_IN);
  },
  SetPIN(application, handle) {
    application.session(handle);
    return refuse(CKR.FUNCTION_NOT_SUPPORTED);
  },

  /** The state of an operation may be a secret, and the vault's part of it never leaves. */
  GetOperationState(application, handle) {
    application.session(handle);
    return refuse(CKR.FUNCTION_NOT_SUPPORTED);
  },
  SetOperationState(application, handle) {
    application.session(handle);
    return refuse(CKR.FUNCTION_NOT_SUPPORTED);
  },

  SessionCancel(application, handle, flags) {
    const session = application.session(handle);
    for (const [flag, name] of CANCELLED) if ((flags & flag) !== 0) end(session, name);
    return DONE;
  },
};

const CANCELLED: readonly (readonly [flag: number, name: keyof Operations])[] = [
  [CKF.ENCRYPT, "encrypt"],
  [CKF.DECRYPT, "decrypt"],
  [CKF.DIGEST, "digest"],
  [CKF.SIGN, "sign"],
  [CKF.SIGN_RECOVER, "sign"],
  [CKF.VERIFY, "verify"],
  [CKF.VERIFY_RECOVER, "recover"],
  /** CKF_FIND_OBJECTS */
  [0x40, "find"],
];

function stateOf({ loggedIn }: Application, { readWrite }: Session): number {
  if (readWrite) return loggedIn ? CKS.RW_USER : CKS.RW_PUBLIC;
  return loggedIn ? CKS.RO_USER : CKS.RO_PUBLIC;
}

function login(application: Application, user: number): [] {
  if (user === CKU.CONTEXT_SPECIFIC) {
    // No key wants it (CKA_ALWAYS_AUTHENTICATE), so there is no operation it could be for.
    return refuse(CKR.OPERATION_NOT_INITIALIZED);
  }
  if (user !== CKU.USER) refuse(CKR.USER_TYPE_INVALID);
  if (application.loggedIn) refuse(CKR.USER_ALREADY_LOGGED_IN);
  application.loggedIn = true;
  return DONE;
}

/** Ends an operation when its Init call names no mechanism (PKCS#11 v3.0, 5.1). */
export function cancel(session: Session, name: keyof Operations): [] {
  active(session, name);
  end(session, name);
  return DONE;
}
