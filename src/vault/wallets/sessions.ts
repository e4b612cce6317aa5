/**
 * Sharing and restoring with SLIP-39 go over many requests, and hold secrets between them. One at a time on the device; it
 * belongs to the process that began it, whichever of its connections a request comes by, and ends by itself.
 */
import { toHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import type { Request } from "../vault.ts";

/** What a session works with. */
export interface SessionWork {
  readonly kind: "sharing" | "restoring";
  /** Zeroes everything. */
  close(): void;
}

/** What is needed of a request. */
export type SessionRequest = Pick<Request, "caller" | "requestKey" | "onGone">;

export interface WalletSessions<Work extends SessionWork> {
  /** @throws ThornkeyError `LIMIT_REACHED` while there is a session, whoever's it is */
  mustBeFree(): void;
  /**
   * @param open makes what it works with
   * @returns false when the same request has begun it already, and is only sent again
   * @throws ThornkeyError `LIMIT_REACHED`, `ABORTED` when it was ended meanwhile
   */
  begin(request: SessionRequest, open: () => Promise<Work>): Promise<boolean>;
  /**
   * One step of the caller's session. A request that is sent again, because its answer was lost, gets the same answer.
   *
   * @throws ThornkeyError `USAGE` when the caller has no session of this kind
   */
  step<Kind extends Work["kind"], Reply extends object>(
    request: SessionRequest,
    kind: Kind,
    take: (work: Extract<Work, { kind: Kind }>) => Promise<Reply>,
  ): Promise<Reply>;
  /** @throws ThornkeyError `USAGE` when the caller has none */
  cancel(request: SessionRequest): void;
  /** Ends whatever there is. */
  end(): void;
}

export interface SessionLimits {
  /** Milliseconds without a request until it ends. */
  readonly idle: number;
  /** The same after the last connection of its process is gone: it may only be between two of them. */
  readonly alone: number;
  /** Milliseconds until it ends in any case, so that nobody keeps others from making wallets. */
  readonly longest: number;
}

export const SESSION_LIMITS: SessionLimits = { idle: 300_000, alone: 60_000, longest: 3_600_000 };

interface Session<Work> {
  readonly owner: string;
  readonly began: number;
  readonly connections: Set<SessionRequest["caller"]>;
  work: Work | undefined;
  timer: NodeJS.Timeout | undefined;
  /** The last request that was answered with something. */
  answered: { readonly requestKey: string; readonly reply: object } | undefined;
}

export function createWalletSessions<Work extends SessionWork>(
  limits: SessionLimits = SESSION_LIMITS,
): WalletSessions<Work> {
  let current: Session<Work> | undefined;

  function end(session: Session<Work> | undefined = current): void {
    if (session === undefined) return;
    clearTimeout(session.timer);
    session.work?.close();
    forget(session);
    if (current === session) current = undefined;
  }

  function endIn(session: Session<Work>, milliseconds: number): void {
    clearTimeout(session.timer);
    const left = session.began + limits.longest - performance.now();
    session.timer = setTimeout(() => end(session), Math.min(milliseconds, Math.max(0, left)));
    session.timer.unref();
  }

  function touch(session: Session<Work>, { caller, onGone }: SessionRequest): void {
    endIn(session, limits.idle);
    if (session.connections.has(caller)) return;
    session.connections.add(caller);
    onGone(() => {
      session.connections.delete(caller);
      if (session === current && session.connections.size === 0) endIn(session, limits.alone);
    });
  }

  function own(request: SessionRequest): Session<Work> {
    if (current?.owner === ownerOf(request)) return current;
    throw new ThornkeyError("USAGE", "you have begun nothing with shares, or it has ended", {
      hint: "it ends after five minutes without a request; begin again",
    });
  }

  function mustBeFree(): void {
    if (current === undefined) return;
    throw new ThornkeyError("LIMIT_REACHED", "a wallet is being made or restored from shares; one at a time", {
      hint: "wait until it is done; it ends by itself after five minutes without a request",
    });
  }

  return {
    mustBeFree,
    async begin(request, open) {
      if (current && answerFor(current, request) !== undefined) return false;
      mustBeFree();
      const session: Session<Work> = {
        owner: ownerOf(request),
        began: performance.now(),
        connections: new Set(),
        work: undefined,
        timer: undefined,
        answered: undefined,
      };
      current = session;
      touch(session, request);
      try {
        const work = await open();
        if (current !== session) {
          work.close();
          throw new ThornkeyError("ABORTED", "it was ended before it had begun");
        }
        session.work = work;
        remember(session, request, {});
        return true;
      } catch (error) {
        end(session);
        throw error;
      }
    },
    async step(request, kind, take) {
      const session = own(request);
      touch(session, request);
      const before = answerFor(session, request);
      if (before !== undefined) return before as never;
      const { work } = session;
      if (work?.kind !== kind) {
        throw new ThornkeyError("USAGE", `what you have begun is no ${kind}, or is not ready yet`);
      }
      const reply = await take(work as never);
      if (current === session) remember(session, request, reply);
      return reply;
    },
    cancel(request) {
      end(own(request));
    },
    end,
  };
}

/** A process: its connections come and go. */
function ownerOf({ caller: { facts } }: SessionRequest): string {
  return `${facts.uid} ${facts.pid} ${facts.front}`;
}

function remember<Work>(session: Session<Work>, { requestKey }: SessionRequest, reply: object): void {
  forget(session);
  if (requestKey !== undefined) session.answered = { requestKey: toHex(requestKey), reply: copyOf(reply) };
}

function answerFor<Work>({ answered }: Session<Work>, { requestKey }: SessionRequest): object | undefined {
  if (requestKey === undefined || answered?.requestKey !== toHex(requestKey)) return undefined;
  return copyOf(answered.reply);
}

function forget<Work>(session: Session<Work>): void {
  for (const value of Object.values(session.answered?.reply ?? {})) if (value instanceof Uint8Array) value.fill(0);
  session.answered = undefined;
}

function copyOf(reply: object): object {
  return Object.fromEntries(
    Object.entries(reply).map(([name, value]) => [name, value instanceof Uint8Array ? value.slice() : value]),
  );
}
