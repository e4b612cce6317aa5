/**
 * The gate's one connection to the vault. It is made again for ever, and what was asked meanwhile or was on its way is
 * asked again, so that callers see a vault's restart only as a delay.
 */
import { ThornkeyError } from "../errors.ts";
import { encodeToVault, type ToVault } from "../operations/protocol.ts";
import { HUMAN_DEADLINE, type OperationName, operationOf, type VaultEvent } from "../operations/table.ts";
import type { CallerFacts } from "../operations/who.ts";
import { createRounds } from "./rounds.ts";
import { type ConnectionListener, createVaultConnection } from "./vault-connection.ts";

/** Somebody who asks. He is told to the vault before his first request, and again after each reconnection. */
export interface CallerHandle {
  readonly number: number;
  readonly facts: CallerFacts;
  /** Ends what he asked for, with `ABORTED`, and tells the vault that he is gone. */
  close(): void;
}

export interface CallerOptions {
  /** @returns SHA-256 of his executable, 64 hexadecimal digits; asked only when a policy needs it */
  readonly programSha256?: () => Promise<string | undefined>;
  /** Takes what the vault sends after `events.subscribe`. */
  readonly event?: (event: VaultEvent) => void;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; without it, what the table says of the operation. */
  readonly deadline?: number | undefined;
  /** 16 bytes; the same again when a caller repeats a request that changes something. */
  readonly requestKey?: Uint8Array | undefined;
}

export interface VaultLink {
  /** Whether the vault said hello, and has not gone since. */
  readonly connected: boolean;
  /** How many requests wait in the gate, and how many at the vault. */
  readonly load: { readonly waiting: number; readonly atVault: number };
  openCaller(facts: CallerFacts, options?: CallerOptions): CallerHandle;
  /**
   * @param args checked by the caller; may be zeroed as soon as this returns
   * @returns the vault's reply; secrets in it are the caller's to zero
   * @throws ThornkeyError what the vault says; `TIMED_OUT`; `VAULT_UNAVAILABLE` when it was not there until the
   *   deadline; `LIMIT_REACHED`; `ABORTED`
   */
  call(caller: CallerHandle, operation: OperationName, args: unknown, options?: CallOptions): Promise<unknown>;
  /** @returns what removes the listener again */
  onConnected(listener: () => void): () => void;
  close(): Promise<void>;
}

/** How many requests of one caller the vault has at a time. */
const AT_VAULT = 64;
/** How many requests of one caller wait in the gate. */
const WAITING = 1024;
/** The vault's own deadline comes first, as it knows better what happened. */
const GRACE_MILLISECONDS = 1000;
/** A request that was on its way so many times when the vault went is perhaps why. */
const SENDS = 8;
/** Bytes on the way to the vault beyond which requests wait here, where turns are fair. */
const HIGH_WATER = 1 << 20;

interface Caller extends CallerHandle {
  readonly options: CallerOptions;
  /** Told to the vault on this connection. */
  opened: boolean;
  readonly pending: Set<Pending>;
  atVault: number;
}

interface Pending {
  readonly id: number;
  readonly caller: Caller;
  /** With its length; sent again as it is. */
  readonly frame: Uint8Array;
  sent: boolean;
  sends: number;
  settle(error: ThornkeyError | undefined, value?: unknown): void;
}

/** @param path the vault's socket */
export function createVaultLink(path: string): VaultLink {
  const callers = new Map<number, Caller>();
  const atVault = new Map<number, Pending>();
  const rounds = createRounds<Pending>(WAITING);
  const listeners = new Set<() => void>();
  /** What goes before requests: callers that are gone, cancelled requests, digests of programs. */
  let control: Uint8Array[] = [];
  let closed = false;
  let flushing: NodeJS.Immediate | undefined;
  let lastCaller = 0;
  let lastId = 0;

  const connection = createVaultConnection(path, {
    up() {
      flushSoon();
      for (const listener of [...listeners]) listener();
    },
    down: askAgain,
    drained: flushSoon,
    message: take,
  });

  /** Everything that was on its way waits again, before what waits already. */
  function askAgain(): void {
    control = [];
    for (const caller of callers.values()) {
      caller.opened = false;
      caller.atVault = 0;
      // In the order in which they were asked.
      const onTheWay = [...caller.pending].filter((pending) => pending.sent);
      for (const pending of onTheWay) {
        pending.sent = false;
        if (pending.sends >= SENDS) pending.settle(unavailable());
      }
      rounds.putBack(
        caller.number,
        onTheWay.filter((pending) => caller.pending.has(pending)),
      );
    }
    atVault.clear();
  }

  function take(message: Parameters<ConnectionListener["message"]>[0]): void {
    switch (message.kind) {
      case "reply":
        atVault.get(message.id)?.settle(undefined, message.value);
        return;
      case "failure":
        atVault.get(message.id)?.settle(message.error);
        return;
      case "event":
        callers.get(message.caller)?.options.event?.(message.event);
        return;
      case "lookUpProgram":
        void lookUp(message.caller);
    }
  }

  async function lookUp(number: number): Promise<void> {
    const caller = callers.get(number);
    const sha256 = await caller?.options.programSha256?.().catch(() => undefined);
    if (caller?.opened) say({ kind: "program", caller: number, sha256 });
  }

  function say(message: ToVault): void {
    if (!connection.up) return;
    control.push(encodeToVault(message));
    flushSoon();
  }

  /** What is asked in one turn of the event loop, from whichever sockets, leaves in one write. */
  function flushSoon(): void {
    flushing ??= setImmediate(flush);
  }

  function flush(): void {
    flushing = undefined;
    if (!connection.up) return;
    const frames = control;
    control = [];
    let bytes = connection.unread;
    while (bytes < HIGH_WATER) {
      const next = rounds.take((number) => (callers.get(number)?.atVault ?? 0) < AT_VAULT);
      if (next === undefined) break;
      const { caller } = next;
      if (!caller.opened) {
        frames.push(encodeToVault({ kind: "caller", caller: caller.number, facts: caller.facts }));
        caller.opened = true;
      }
      frames.push(next.frame);
      bytes += next.frame.length;
      next.sent = true;
      next.sends++;
      caller.atVault++;
      atVault.set(next.id, next);
    }
    connection.write(frames);
  }

  function closeCaller(caller: Caller): void {
    if (!callers.delete(caller.number)) return;
    for (const pending of [...caller.pending]) {
      if (pending.sent) say({ kind: "cancel", id: pending.id });
      pending.settle(new ThornkeyError("ABORTED", "the caller is gone"));
    }
    if (caller.opened) say({ kind: "gone", caller: caller.number });
  }

  return {
    get connected() {
      return connection.up;
    },
    get load() {
      return { waiting: rounds.size, atVault: atVault.size };
    },

    openCaller(facts, options = {}) {
      const number = ++lastCaller;
      const caller: Caller = {
        ...{ number, facts, options, opened: false, pending: new Set(), atVault: 0 },
        close: () => closeCaller(caller),
      };
      callers.set(number, caller);
      return caller;
    },

    call(handle, name, args, { signal, deadline, requestKey } = {}) {
      return new Promise((resolve, reject) => {
        const caller = callers.get(handle.number);
        if (caller === undefined || signal?.aborted) throw new ThornkeyError("ABORTED", "the caller is gone");
        if (closed) throw new ThornkeyError("VAULT_UNAVAILABLE", "the gate is ending");
        const operation = operationOf(name);
        const id = ++lastId;
        const frame = encodeToVault({
          ...{ kind: "request", id, caller: caller.number, operation: name, args },
          requestKey: operation.changes ? (requestKey ?? crypto.getRandomValues(new Uint8Array(16))) : undefined,
        });

        const onAbort = () => giveUp(new ThornkeyError("ABORTED", "the caller gave up"));
        const pending: Pending = {
          ...{ id, caller, frame, sent: false, sends: 0 },
          settle(error, value) {
            if (!caller.pending.delete(pending)) return;
            clearTimeout(timer);
            signal?.removeEventListener("abort", onAbort);
            if (pending.sent) {
              atVault.delete(id);
              caller.atVault--;
              if (rounds.size > 0) flushSoon();
            } else rounds.remove(caller.number, pending);
            frame.fill(0);
            if (error === undefined) resolve(value);
            else reject(error);
          },
        };
        function giveUp(error: ThornkeyError): void {
          if (pending.sent) say({ kind: "cancel", id });
          pending.settle(error);
        }

        rounds.push(caller.number, pending);
        caller.pending.add(pending);
        const given = deadline ?? operation.deadline;
        // Somebody may have to be asked, which the vault knows and we do not.
        const longest = deadline ?? Math.max(given, operation.requires === "use" ? HUMAN_DEADLINE : 0);
        let timer = setTimeout(
          () => {
            if (!connection.up) giveUp(unavailable());
            else if (longest <= given) giveUp(timedOut(name, longest));
            else
              timer = setTimeout(
                () => giveUp(connection.up ? timedOut(name, longest) : unavailable()),
                longest - given,
              );
          },
          given + (deadline === undefined ? GRACE_MILLISECONDS : 0),
        );
        signal?.addEventListener("abort", onAbort, { once: true });
        flushSoon();
      });
    },

    onConnected(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    async close() {
      closed = true;
      clearImmediate(flushing);
      for (const caller of callers.values()) {
        for (const pending of [...caller.pending]) {
          pending.settle(new ThornkeyError("VAULT_UNAVAILABLE", "the gate is ending"));
        }
      }
      callers.clear();
      await connection.close();
    },
  };
}

function unavailable(): ThornkeyError {
  return new ThornkeyError("VAULT_UNAVAILABLE", "the vault does not answer", {
    hint: "systemctl status thornkey-vault, or start it with: thornkey up",
  });
}

function timedOut(operation: string, milliseconds: number): ThornkeyError {
  return new ThornkeyError("TIMED_OUT", `${operation} was not done within ${Math.ceil(milliseconds / 1000)} s`);
}
