/**
 * An open vault: what the handlers of operations work on.
 */
import type { Secret } from "../bytes/secret.ts";
import type { HostComponent } from "../machine/host.ts";
import type { DevicePolicy, KeyInfo, Namespace, OperationName } from "../operations/table.ts";
import type { RootDescription } from "../roots/root.ts";
import type { Confirmations } from "./confirmations.ts";
import type { FairRunner } from "./fair-queue.ts";
import type { Header } from "./header.ts";
import type { Entry } from "./journal.ts";
import type { Keyring } from "./keyring.ts";
import type { Persons } from "./persons.ts";
import type { Random } from "./random.ts";
import type { Refusals } from "./refusals.ts";
import type { RateLimiter } from "./restrictions.ts";
import type { Authority, Caller } from "./rights.ts";
import type { OpenRoot } from "./root-spec.ts";
import type { State } from "./store/state.ts";
import type { UseLedger } from "./use-ledger.ts";
import type { WalletSessions } from "./wallets/sessions.ts";
import type { Sharing } from "./wallets/slip39/generate.ts";
import type { Restoring } from "./wallets/slip39/restore.ts";
import type { WalletIndex } from "./wallets/wallet-index.ts";

export interface OpenVault {
  readonly state: State;
  readonly keyring: Keyring;
  readonly authority: Authority;
  readonly root: OpenRoot;
  readonly rootDescription: RootDescription;
  /** Public part of the evidence key, X and Y, 64 bytes; undefined for a root without one. */
  readonly evidenceKey: Uint8Array | undefined;
  /** The root's queue, fair between users. */
  readonly rootQueue: FairRunner;
  /** Signatures that are made in other threads, fair between users. */
  readonly background: FairRunner;
  readonly random: Random;
  readonly ledger: UseLedger;
  readonly rates: RateLimiter;
  readonly refusals: Refusals;
  readonly confirmations: Confirmations;
  readonly persons: Persons;
  readonly wallets: WalletIndex;
  readonly walletSessions: WalletSessions<WalletWork>;
  readonly host: readonly HostComponent[];
  readonly boot: string;
  readonly started: number;
  readonly namespaces: Map<string, Namespace>;
  /** 32 bytes; needed when a way in is added. */
  readonly master: Secret;
  header: Header;
  device: DevicePolicy;
  /** Set once it was destroyed; nothing leaves any more. */
  destroyed: boolean;
  /** Seconds since the device's start. */
  uptime(): number;
  now(): number;
  /** Opens a root that the state is not on. */
  openPart(specification: string): Promise<OpenRoot>;
  /** After a change: the second copy, for repair. */
  backUpHeader(): void;
  /**
   * A new master key: everything is sealed anew, in one transaction.
   *
   * @param makeHeader seals the new master key; called with it and with what the root derives
   */
  rotate(makeHeader: (master: Secret, secret: Secret) => Promise<Header>, entry: Entry): Promise<void>;
  /** Writes down that the vault is destroyed, where it is looked for first. @param done nothing is left to overwrite */
  latch(reason: string, done: boolean): void;
  /** Overwrites all that is sealed. */
  shredStore(): void;
  close(): Promise<void>;
}

/** What a session with shares of a wallet works with: when it is done, its secret becomes a master. */
export type WalletWork = { close(): void } & (
  | { readonly kind: "sharing"; readonly sharing: Sharing; finish(last: Request): Promise<KeyInfo> }
  | {
      readonly kind: "restoring";
      readonly restoring: Restoring;
      finish(last: Request, secret: Secret): Promise<KeyInfo>;
    }
);

/** One request, as a handler sees it. */
export interface Request {
  readonly operation: OperationName;
  readonly caller: Caller;
  readonly signal: AbortSignal;
  readonly requestKey: Uint8Array | undefined;
  /** Whether other requests wait for the vault's own thread. */
  readonly othersWait: boolean;
  /** Sends events to the caller from now on, first those after an entry of the journal. */
  subscribe(after: number | undefined): Promise<number>;
  /** Has something done when the caller's connection is gone. */
  onGone(body: () => void): void;
}
