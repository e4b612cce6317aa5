/** What the main loop asks of the process that has the module, and what it gets: nothing of it is checked yet. */
import type { Ulong } from "./memory.ts";
import type { KeyFacts, MechanismUse, NewKey } from "./objects.ts";
import type { LoginOutcome } from "./session.ts";
import type { TokenFacts } from "./tokens.ts";

/** What a token can do with a mechanism (CK_MECHANISM_INFO). */
export interface MechanismFacts {
  readonly type: number;
  readonly least: number;
  readonly most: number;
  readonly flags: number;
}

/** One of the token's private keys. */
export interface KeyListing {
  readonly id: string;
  readonly label: string;
}

/**
 * All may be repeated but `login`. Those that use a key fail with `NOT_PERMITTED` when a login is needed first, and with
 * `KEY_NOT_FOUND` when there is no such key.
 */
export type TokenCalls = {
  /** Tokens of the module, whether the location fits them or not. */
  readonly list: () => readonly TokenFacts[];
  readonly look: () => { readonly facts: TokenFacts; readonly mechanisms: readonly MechanismFacts[] };
  readonly login: (pin: Uint8Array | undefined, unsure: boolean) => LoginOutcome;
  readonly random: (length: number) => Uint8Array;
  readonly keys: (labelled: string | undefined) => readonly KeyListing[];
  readonly key: (id: string) => KeyFacts;
  readonly generate: (wanted: NewKey) => KeyFacts;
  readonly sign: (id: string, mechanism: MechanismUse, data: Uint8Array) => Uint8Array;
  /** @param peers 04, X, Y each. @param length bytes of a coordinate */
  readonly agree: (id: string, peers: readonly Uint8Array[], length: number) => readonly Uint8Array[];
  /** @returns whether it was there */
  readonly destroy: (id: string) => boolean;
};

export type { KeyFacts, LoginOutcome, MechanismUse, NewKey, TokenFacts, Ulong };
