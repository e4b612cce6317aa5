import { ThornkeyError } from "../../errors.ts";
import { CKF_SESSION, CKF_TOKEN, CKS, CKU_USER } from "./constants.ts";
import { nameOf, type Pkcs11Location } from "./location.ts";
import type { Ulong } from "./memory.ts";
import { loadModule, type Module } from "./module.ts";
import { CKR, errorOf, ReturnValue } from "./return-values.ts";
import { factsOf, fits, settledOn, type TokenFacts, tokensOf } from "./tokens.ts";

/** What came of a login. `wrong`: the PIN was refused, and counted. */
export type LoginOutcome = "in" | "wrong" | "locked" | "last-try";

/** A session with one token, which is opened when it is needed and again when it was lost. */
export interface TokenSession {
  /** The token, which is looked for when it was gone. */
  facts(): TokenFacts;
  /** Asks something that needs no login. */
  look<Result>(ask: (module: Module, slot: Ulong) => Result): Result;
  /**
   * Does something with the token, a second time when what it needs was lost meanwhile; so it must be something that may
   * be repeated.
   *
   * @throws ThornkeyError `NOT_PERMITTED` when it needs a login first, `ROOT_UNAVAILABLE`, `ROOT_REFUSED`
   */
  use<Result>(act: (module: Module, session: Ulong) => Result): Result;
  /**
   * @param pin none where the token asks for it itself
   * @param unsure an earlier attempt may have been counted as wrong: if the token says so, none is made
   */
  login(pin: Uint8Array | undefined, unsure: boolean): LoginOutcome;
  /** Handles of objects by a name of the caller's, emptied when they are no longer good. */
  readonly handles: Map<string, Ulong>;
  close(): void;
}

/** What one has at a time. */
interface Open {
  readonly session: Ulong;
  readonly facts: TokenFacts;
  loggedIn: boolean;
}

const WRONG: ReadonlySet<number> = new Set([CKR.PIN_INCORRECT, CKR.PIN_INVALID, CKR.PIN_LEN_RANGE]);

export function tokenSession(location: Pkcs11Location): TokenSession {
  const who = nameOf(location);
  const handles = new Map<string, Ulong>();
  let module: Module | undefined;
  let initialized = false;
  let open: Open | undefined;
  /** The very token that was found first: another that fits as well does not take its place. */
  let wanted = location;

  function initializedModule(): Module {
    module ??= loadModule(location.module);
    if (!initialized) module.initialize();
    initialized = true;
    return module;
  }

  function findToken(): { module: Module; facts: TokenFacts } {
    const again = initialized;
    let loaded = initializedModule();
    let found = tokensOf(loaded).filter((facts) => fits(wanted, facts));
    if (found.length === 0 && again) {
      // Many modules see a token that was plugged in only when they start.
      loaded.finalize();
      initialized = false;
      loaded = initializedModule();
      found = tokensOf(loaded).filter((facts) => fits(wanted, facts));
    }
    const [facts, another] = found;
    if (facts === undefined) {
      throw new ThornkeyError("ROOT_UNAVAILABLE", `${who} is not there`, {
        hint: "plug it in, or start what it is reached by (pcscd, the vendor's daemon, the network); it is used by itself then",
      });
    }
    if (another !== undefined) {
      const serials = found.map(({ label, serial }) => `token=${label} serial=${serial}`).join(", ");
      throw new ThornkeyError("USAGE", `more than one token fits ${who}: ${serials}`, {
        hint: "say which one with token= or serial=",
      });
    }
    wanted = settledOn(location, facts);
    return { module: loaded, facts };
  }

  function opened(): { module: Module; open: Open } {
    if (open === undefined || module === undefined) {
      const found = findToken();
      module = found.module;
      open = newSession(module, found.facts);
    }
    return { module, open };
  }

  function closeSession({ session }: Open): void {
    try {
      module?.call("C_CloseSession", session);
    } catch {
      // it is gone already
    }
  }

  function dropSession(): void {
    const last = open;
    open = undefined;
    handles.clear();
    if (last !== undefined) closeSession(last);
  }

  /** A new session before the old one is closed: with the last one goes the login. */
  function renewSession(): void {
    const last = open;
    open = undefined;
    handles.clear();
    if (last === undefined) return;
    try {
      if (module !== undefined) open = newSession(module, last.facts);
    } catch {
      // the token is looked for anew
    }
    closeSession(last);
  }

  const LOSE: { readonly [Lost in ReturnValue["meaning"]["lost"]]: () => void } = {
    nothing: () => {},
    // Whatever was under way in the session may be so still.
    again: renewSession,
    session: renewSession,
    login: () => {
      if (open !== undefined) open.loggedIn = false;
    },
    token() {
      dropSession();
      if (initialized) module?.finalize();
      initialized = false;
    },
  };

  function attempt<Result>(act: (module: Module, open: Open) => Result): Result {
    for (let attempts = 1; ; attempts++) {
      try {
        const { module, open } = opened();
        try {
          return act(module, open);
        } finally {
          module.memory.clear();
        }
      } catch (error) {
        if (!(error instanceof ReturnValue)) throw error;
        const { lost } = error.meaning;
        LOSE[lost]();
        if (lost !== "nothing" && lost !== "login" && attempts === 1) continue;
        // Nobody knows what a module that fails twice still knows: the next one begins anew.
        if (lost === "again") LOSE.token();
        throw errorOf(error, who);
      }
    }
  }

  return {
    handles,
    facts: () => attempt((_, { facts }) => facts),
    look: (ask) => attempt((module, { facts }) => ask(module, facts.slotId)),
    use: (act) =>
      attempt((module, { session, loggedIn }) => {
        if (!loggedIn) throw new ThornkeyError("NOT_PERMITTED", `${who} wants its PIN`);
        return act(module, session);
      }),
    login(pin, unsure) {
      const { module, open } = attempt((module, open) => ({ module, open }));
      try {
        if (open.loggedIn) return "in";
        const { flags } = factsOf(module, open.facts.slotId);
        if ((flags & CKF_TOKEN.USER_PIN_LOCKED) !== 0) return "locked";
        if ((flags & CKF_TOKEN.USER_PIN_FINAL_TRY) !== 0) return "last-try";
        if (unsure && (flags & CKF_TOKEN.USER_PIN_COUNT_LOW) !== 0) return "wrong";
        const { memory } = module;
        if (pin === undefined) module.call("C_Login", open.session, CKU_USER, 0, 0);
        else module.call("C_Login", open.session, CKU_USER, memory.bytes(pin), pin.length);
        open.loggedIn = true;
        return "in";
      } catch (error) {
        if (!(error instanceof ReturnValue)) throw error;
        if (error.rv === CKR.USER_ALREADY_LOGGED_IN) {
          open.loggedIn = true;
          return "in";
        }
        if (WRONG.has(error.rv)) return "wrong";
        if (error.rv === CKR.PIN_LOCKED) return "locked";
        LOSE[error.meaning.lost]();
        throw errorOf(error, who);
      } finally {
        module.memory.clear();
      }
    },
    close() {
      dropSession();
      if (initialized) module?.finalize();
      initialized = false;
    },
  };
}

function newSession(module: Module, facts: TokenFacts): Open {
  const session = openSession(module, facts.slotId);
  const needed = (facts.flags & CKF_TOKEN.LOGIN_REQUIRED) !== 0;
  return { session, facts, loggedIn: !needed || isLoggedIn(module, session) };
}

function openSession(module: Module, slot: Ulong): Ulong {
  const { memory } = module;
  try {
    const session = memory.words(0);
    try {
      module.call("C_OpenSession", slot, CKF_SESSION.SERIAL | CKF_SESSION.RW, 0, 0, session);
    } catch (error) {
      if (!(error instanceof ReturnValue) || error.rv !== CKR.TOKEN_WRITE_PROTECTED) throw error;
      module.call("C_OpenSession", slot, CKF_SESSION.SERIAL, 0, 0, session);
    }
    return memory.ulong(session);
  } finally {
    memory.clear();
  }
}

function isLoggedIn(module: Module, session: Ulong): boolean {
  const { memory } = module;
  try {
    const info = memory.words(0, 0, 0, 0);
    module.call("C_GetSessionInfo", session, info);
    const state = memory.ulong(info + memory.word);
    return state === CKS.RO_USER_FUNCTIONS || state === CKS.RW_USER_FUNCTIONS;
  } finally {
    memory.clear();
  }
}
