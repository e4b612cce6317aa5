/** One connection is one application in the sense of PKCS#11: its sessions, its login, the objects of its sessions. */
import type { CallerHandle } from "../vault-link.ts";
import type { AttributeValue } from "./attributes.ts";
import { type Budget, createBudget } from "./budget.ts";
import type { Dialect } from "./codec.ts";
import { CKA, CKF, CKR } from "./constants.ts";
import { isTokenHandle } from "./handles.ts";
import { type Backing, flagOf, type TokenObject } from "./object.ts";
import { refuse } from "./refusals.ts";
import { createSession, endAll, type Session } from "./session.ts";
import { type Ask, createToken, type Shared, type Token } from "./token.ts";

export interface Application {
  readonly dialect: Dialect;
  readonly uid: number;
  readonly ask: Ask;
  readonly token: Token;
  readonly budget: Budget;
  readonly sessions: ReadonlyMap<number, Session>;
  initialized: boolean;
  /** Whether private objects are only for those who are logged in. */
  readonly login: boolean;
  loggedIn: boolean;
  /** @returns whether an object is not to be seen now */
  hides(attributes: ReadonlyMap<number, AttributeValue>): boolean;
  /** @throws Refusal CKR_SESSION_COUNT */
  openSession(flags: number): Session;
  /** @throws Refusal CKR_SESSION_HANDLE_INVALID */
  session(handle: number): Session;
  closeSession(handle: number): void;
  closeAllSessions(): void;
  /**
   * @returns an object this application knows, or that the token has after all
   * @throws Refusal `otherwise`
   */
  object(handle: number, otherwise?: number): TokenObject | Promise<TokenObject>;
  sessionObjects(): Iterable<TokenObject>;
  addSessionObject(session: Session, made: NewObject): TokenObject;
  /** Puts another object in the place of a session object, with the same handle. */
  replaceSessionObject(object: TokenObject): void;
  removeSessionObject(handle: number): void;
  logout(): void;
}

export interface NewObject {
  readonly attributes: ReadonlyMap<number, AttributeValue>;
  readonly hidden: ReadonlySet<number>;
  readonly backing: Backing;
}

export const MOST_SESSIONS = 1024;
/** Bytes of messages in parts and of objects that are kept for one application. */
const BUDGET = 16 << 20;
/** An object costs more than its attributes. */
const OBJECT_BYTES = 2048;

export function createApplication(
  dialect: Dialect,
  caller: CallerHandle,
  ask: Ask,
  shared: Shared,
  login = false,
): Application {
  const { uid } = caller.facts;
  const token = createToken(ask, uid, shared);
  const budget = createBudget(BUDGET);
  const sessions = new Map<number, Session>();
  /** Objects and the sessions they end with. */
  const objects = new Map<number, { object: TokenObject; session: number }>();
  let lastSession = 0;
  let lastObject = 0;

  function drop(handle: number): void {
    const known = objects.get(handle);
    if (known === undefined) return;
    objects.delete(handle);
    budget.give(costOf(known.object));
    if (known.object.backing.kind === "value") known.object.backing.value.destroy();
  }

  async function search(handle: number, otherwise: number): Promise<TokenObject> {
    await token.list();
    const object = token.object(handle);
    if (object !== undefined) return object;
    // Somebody else's, perhaps: the vault says no, and writes it down.
    const id = shared.handles.idOf(handle);
    if (id !== undefined) await ask("key.show", { key: id }).catch(() => {});
    return refuse(otherwise);
  }

  /** @throws Refusal CKR_USER_NOT_LOGGED_IN */
  function visible(object: TokenObject): TokenObject {
    return application.hides(object.attributes) ? refuse(CKR.USER_NOT_LOGGED_IN) : object;
  }

  const application: Application = {
    ...{ dialect, uid, ask, token, budget, sessions, initialized: false, login, loggedIn: false },
    hides: (attributes) => login && !application.loggedIn && flagOf(attributes, CKA.PRIVATE),
    openSession(flags) {
      if (sessions.size >= MOST_SESSIONS) refuse(CKR.SESSION_COUNT);
      if ((flags & CKF.SERIAL_SESSION) === 0) refuse(CKR.SESSION_PARALLEL_NOT_SUPPORTED);
      const session = createSession(++lastSession, flags);
      sessions.set(session.handle, session);
      return session;
    },
    session: (handle) => sessions.get(handle) ?? refuse(CKR.SESSION_HANDLE_INVALID),
    closeSession(handle) {
      const session = application.session(handle);
      endAll(session);
      sessions.delete(handle);
      for (const [object, { session: owner }] of objects) if (owner === handle) drop(object);
      if (sessions.size === 0) application.loggedIn = false;
    },
    closeAllSessions() {
      for (const handle of [...sessions.keys()]) application.closeSession(handle);
    },
    object(handle, otherwise = CKR.OBJECT_HANDLE_INVALID) {
      const known = objects.get(handle)?.object ?? token.object(handle);
      if (known !== undefined) return visible(known);
      return isTokenHandle(handle) ? search(handle, otherwise).then(visible) : refuse(otherwise);
    },
    *sessionObjects() {
      for (const { object } of objects.values()) yield object;
    },
    addSessionObject(session, made) {
      if (application.hides(made.attributes)) refuse(CKR.USER_NOT_LOGGED_IN);
      const object = { ...made, handle: ++lastObject };
      budget.take(costOf(object));
      objects.set(object.handle, { object, session: session.handle });
      return object;
    },
    replaceSessionObject(object) {
      const known = objects.get(object.handle);
      if (known === undefined) refuse(CKR.OBJECT_HANDLE_INVALID);
      budget.take(costOf(object));
      budget.give(costOf(known.object));
      objects.set(object.handle, { object, session: known.session });
    },
    removeSessionObject: drop,
    logout() {
      application.loggedIn = false;
      if (login) for (const session of sessions.values()) endAll(session);
      for (const [handle, { object }] of objects) if (flagOf(object.attributes, CKA.PRIVATE)) drop(handle);
    },
  };
  return application;
}

function costOf({ attributes, backing }: TokenObject): number {
  let bytes = OBJECT_BYTES + (backing.kind === "value" ? backing.value.length : 0);
  for (const value of attributes.values()) bytes += value instanceof Uint8Array ? value.length : 8;
  return bytes;
}
