/**
 * An open vault: what the handlers of operations work on.
 */
import { ThornkeyError } from "../errors.ts";
import type { HostComponent } from "../machine/host.ts";
import type { DevicePolicy, Namespace, OperationName, VaultState } from "../operations/table.ts";
import type { FairRunner } from "./fair-queue.ts";
import type { Header } from "./header.ts";
import type { Keyring } from "./keyring.ts";
import type { RandomSource } from "./random.ts";
import type { RateLimiter } from "./restrictions.ts";
import type { Authority, Caller } from "./rights.ts";
import type { OpenRoot } from "./root-spec.ts";
import type { Database } from "./store/database.ts";
import type { State } from "./store/state.ts";
import type { Confirmations } from "./confirmations.ts";
import type { UseLedger } from "./use-ledger.ts";

/** Why a vault gives nothing out. */
export interface Refusal {
  readonly state: Exclude<VaultState, "operational">;
  readonly error: ThornkeyError;
}

export interface OpenVault {
  readonly database: Database;
  readonly state: State;
  readonly keyring: Keyring;
  readonly authority: Authority;
  readonly root: OpenRoot;
  /** The root's queue, fair between users. */
  readonly rootQueue: FairRunner;
  readonly random: RandomSource;
  readonly ledger: UseLedger;
  readonly rates: RateLimiter;
  readonly confirmations: Confirmations;
  readonly host: readonly HostComponent[];
  readonly boot: string;
  readonly stateFolder: string;
  readonly started: number;
  header: Header;
  device: DevicePolicy;
  readonly namespaces: Map<string, Namespace>;
  /** Set once it was destroyed; nothing leaves any more. */
  destroyed: boolean;
  /** Seconds since the device's start. */
  uptime(): number;
  now(): number;
  /** Does what follows from a change of master key or stage: opens the state anew. */
  reopen(): Promise<void>;
}

/** One request, as a handler sees it. */
export interface Request {
  readonly operation: OperationName;
  readonly caller: Caller;
  readonly signal: AbortSignal;
  readonly requestKey: Uint8Array | undefined;
  /** Sends events to the caller from now on. */
  subscribe(after: number | undefined): Promise<number>;
}
