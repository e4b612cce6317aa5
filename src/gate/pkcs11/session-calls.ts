/** Sessions and logging in. */
import { PIN_BYTES } from "../../operations/pins.ts";
import type { Application } from "./application.ts";
import { CKF, CKR, CKS, CKU } from "./constants.ts";
import { DONE, type Handlers } from "./handlers.ts";
import { refuse, translated } from "./refusals.ts";
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

  Login(application, handle, user, pin) {
    application.session(handle);
    return login(application, user, pin);
  },
  LoginUser(application, handle, user, pin) {
    application.session(handle);
    return login(application, user, pin);
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
  /** Chooses the user's PIN, the first one too, where there are PINs at all. */
  async SetPIN(application, handle, before, pin) {
    const session = application.session(handle);
    if (!application.login) return refuse(CKR.FUNCTION_NOT_SUPPORTED);
    if (!session.readWrite) return refuse(CKR.SESSION_READ_ONLY);
    if (pin === null) return refuse(CKR.ARGUMENTS_BAD);
    if (pin.length < PIN_BYTES.least || pin.length > PIN_BYTES.most) return refuse(CKR.PIN_LEN_RANGE);
    try {
      await application.ask("pin.set", { pin, ...(before !== null && { before }) });
    } catch (error) {
      throw translated(error, PIN_MEANINGS);
    }
    return DONE;
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

/**
 * At the socket with a login the PIN is the user's. Elsewhere any is right, and none: who somebody is the kernel has told
 * already.
 */
function login(application: Application, user: number, pin: Uint8Array | null): [] | Promise<[]> {
  if (user === CKU.CONTEXT_SPECIFIC) {
    // No key wants it (CKA_ALWAYS_AUTHENTICATE), so there is no operation it could be for.
    return refuse(CKR.OPERATION_NOT_INITIALIZED);
  }
  if (user !== CKU.USER) refuse(CKR.USER_TYPE_INVALID);
  if (application.loggedIn) refuse(CKR.USER_ALREADY_LOGGED_IN);
  if (application.login) return shown(application, pin ?? new Uint8Array(0));
  application.loggedIn = true;
  return DONE;
}

async function shown(application: Application, pin: Uint8Array): Promise<[]> {
  try {
    await application.ask("pin.check", { pin });
  } catch (error) {
    throw translated(error, PIN_MEANINGS);
  }
  application.loggedIn = true;
  return DONE;
}

const PIN_MEANINGS = {
  NOT_PERMITTED: CKR.PIN_INCORRECT,
  LIMIT_REACHED: CKR.PIN_LOCKED,
  FILE_NOT_FOUND: CKR.USER_PIN_NOT_INITIALIZED,
  USAGE: CKR.PIN_INCORRECT,
} as const;

/** Ends an operation when its Init call names no mechanism (PKCS#11 v3.0, 5.1). */
export function cancel(session: Session, name: keyof Operations): [] {
  active(session, name);
  end(session, name);
  return DONE;
}
