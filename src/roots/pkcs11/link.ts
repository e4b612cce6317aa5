import { Secret } from "../../bytes/secret.ts";
import { ThornkeyError } from "../../errors.ts";
import { ownerOf } from "../owner.ts";
import { processOwner } from "../owner-process.ts";
import type { TokenCalls, TokenFacts } from "./calls.ts";
import { CKF_TOKEN } from "./constants.ts";
import { nameOf, type Pkcs11Location } from "./location.ts";
import { readPin, rememberPin, standingOf } from "./pin.ts";
import { settledOn } from "./tokens.ts";

/** How long things may take, in milliseconds. */
export interface Patience {
  /** One answer of a token: it may wait for a touch, or for a network. */
  readonly call: number;
  /** Loading the module and finding the token; a login, at which somebody may have to type. */
  readonly open: number;
  /** Making a key: cards need minutes for a long RSA key. */
  readonly generate: number;
  /** What a new process may take to start, beyond that. */
  readonly start: number;
}

export const PATIENCE: Patience = { call: 15_000, open: 60_000, generate: 300_000, start: 15_000 };

/** The main loop's end of the process with the module: logs in when the token wants it. */
export interface TokenLink {
  /** @throws ThornkeyError what the token answers, `ROOT_UNAVAILABLE`, and `ROOT_REFUSED` when it does not take the PIN */
  ask<Name extends Exclude<keyof TokenCalls, "login">>(
    name: Name,
    ...args: Parameters<TokenCalls[Name]>
  ): Promise<ReturnType<TokenCalls[Name]>>;
  /** From now on this very token is meant, and no other that fits. */
  settle(facts: TokenFacts): void;
  close(): Promise<void>;
}

const LONGEST: { readonly [Name in keyof TokenCalls]: "call" | "open" | "generate" } = {
  ...{ list: "open", look: "open", login: "open", generate: "generate" },
  ...{ random: "call", keys: "open", key: "call", sign: "call", agree: "call", destroy: "open" },
} as const;

/** @param pin taken over: it is zeroed when the link is closed */
export function linkToken(location: Pkcs11Location, pin: Secret | undefined, patience: Patience): TokenLink {
  const who = nameOf(location);
  const program = new URL(`./owner${import.meta.url.slice(-3)}`, import.meta.url);
  let settled = location;
  const owner = ownerOf<TokenCalls>(
    who,
    processOwner(program, () => settled),
    patience.start,
  );
  let loggingIn: Promise<void> | undefined;

  const call = <Name extends keyof TokenCalls & string>(name: Name, args: Parameters<TokenCalls[Name]>) =>
    owner.call(name, args, { longest: patience[LONGEST[name]], repeatable: name !== "login" });

  /** One login for all who wait for it. */
  function login(): Promise<void> {
    loggingIn ??= loginOnce().finally(() => {
      loggingIn = undefined;
    });
    return loggingIn;
  }

  async function loginOnce(): Promise<void> {
    const { facts } = await call("look", []);
    const token = `${location.module}\0${facts.manufacturer}\0${facts.model}\0${facts.serial}\0${facts.label}`;
    const given = pinFor(facts);
    try {
      const standing = standingOf(token, given);
      if (standing === "refused") throw refusals.wrong();
      // Noted before it is tried: whatever becomes of us or of the module meanwhile, it may have been counted.
      rememberPin(token, given, "doubt");
      const outcome = await tryLogin(given, standing === "doubt");
      rememberPin(token, given, outcome === "wrong" ? "refused" : undefined);
      if (outcome !== "in") throw refusals[outcome]();
    } finally {
      given?.destroy();
    }
  }

  async function tryLogin(given: Secret | undefined, unsure: boolean) {
    const bytes = given?.use((bytes) => bytes.slice());
    try {
      return await call("login", [bytes, unsure]);
    } catch (error) {
      // It may be tried again: the token is asked first whether it has counted this one.
      if (!(error instanceof ThornkeyError) || error.code !== "OUTCOME_UNKNOWN") throw error;
      throw new ThornkeyError("ROOT_UNAVAILABLE", error.message, { cause: error });
    } finally {
      bytes?.fill(0);
    }
  }

  /** @returns a copy, or undefined where the token asks somebody itself */
  function pinFor({ flags }: TokenFacts): Secret | undefined {
    if (pin !== undefined) return pin.use((bytes) => new Secret(bytes.slice()));
    if (location.pinSource !== undefined) return readPin(location.pinSource);
    if ((flags & CKF_TOKEN.PROTECTED_AUTHENTICATION_PATH) !== 0) return undefined;
    throw new ThornkeyError("ROOT_REFUSED", `${who} wants a PIN, and none was given`, {
      hint: "put it into a file that only this user reads and say pin-source=file:/path, or give it at the start",
    });
  }

  const refusals = {
    wrong: () =>
      new ThornkeyError("ROOT_REFUSED", `${who} does not take the PIN`, {
        hint: `the same PIN is not tried again, because tokens lock after a few wrong tries; ${
          location.pinSource === undefined ? "give the right one" : `put the right one into ${location.pinSource}`
        }`,
      }),
    locked: () =>
      new ThornkeyError("ROOT_REFUSED", `the PIN of ${who} is locked after too many wrong tries`, {
        hint: "unlock it with the security officer's PIN and the vendor's tool, or pkcs11-tool --unlock-pin",
      }),
    "last-try": () =>
      new ThornkeyError("ROOT_REFUSED", `${who} has one try for its PIN left, which is not risked here`, {
        hint: "log in yourself once with the right PIN (pkcs11-tool --login --test), which makes the tries full again",
      }),
  };

  return {
    async ask(name, ...args) {
      for (let logins = 0; ; logins++) {
        try {
          return (await call(name, args)) as never;
        } catch (error) {
          if (!(error instanceof ThornkeyError) || error.code !== "NOT_PERMITTED") throw error;
          if (logins === MOST_LOGINS) {
            throw new ThornkeyError("ROOT_UNAVAILABLE", `${who} is lost again after every login`);
          }
        }
        await login();
      }
    },
    settle(facts) {
      settled = settledOn(location, facts);
    },
    async close() {
      await owner.close();
      pin?.destroy();
    },
  };
}

/** Logins one call is worth: the first may have been lost again meanwhile. */
const MOST_LOGINS = 2;
