/**
 * Who is at the other end of a connection, from the moment it is made until it ends. Whoever cannot be identified gets
 * no connection.
 */
import type { Socket } from "node:net";
import { openFilesAtMost } from "../machine/open-files.ts";
import type { CallerFacts } from "../operations/who.ts";
import type { CallerHandle, CallerOptions, VaultLink } from "./vault-link.ts";

/** A peer as the kernel tells of it. */
export interface Identity {
  readonly facts: CallerFacts;
  /** @returns SHA-256 of its executable, 64 hexadecimal digits, or undefined when that cannot be told */
  programSha256(): Promise<string | undefined>;
  /** Lets go of what holds the process in view. */
  close(): void;
}

/**
 * @param front the protocol the connection speaks
 * @throws when it cannot be told who is there
 */
export type Identify = (socket: Socket, front: string) => Identity;

export interface Callers {
  /**
   * @returns the caller behind a connection, who is gone when it ends; or why there is none: `unknown` for a peer that
   *   cannot be identified, `too many` when its user has too many connections already, or all
   *   together have
   */
  admit(socket: Socket, front: string): CallerHandle | "unknown" | "too many";
  /** @returns the caller of a connection that was admitted, and is still there */
  of(socket: Socket): CallerHandle | undefined;
  /**
   * A further caller of the same identity, for one purpose on the same connection.
   *
   * @param event takes the events it subscribes to
   */
  another(socket: Socket, event: CallerOptions["event"]): CallerHandle | undefined;
  readonly connections: number;
  readonly limits: ConnectionLimits;
}

/** How many more connections than may be served one front has open, to tell them so; those beyond are closed. */
export const REFUSED_AT_MOST = 64;

/** Connections that are not served, and are told why. */
export interface Refused {
  /** @returns false when there are too many of them already, and this one was closed */
  take(socket: Socket): boolean;
}

/** @param milliseconds how long one may stay at the most */
export function createRefused(milliseconds: number): Refused {
  const sockets = new Set<Socket>();
  return {
    take(socket) {
      if (sockets.size >= REFUSED_AT_MOST) {
        socket.destroy();
        return false;
      }
      sockets.add(socket);
      const timer = setTimeout(() => socket.destroy(), milliseconds).unref();
      socket.once("close", () => {
        clearTimeout(timer);
        sockets.delete(socket);
      });
      return true;
    },
  };
}

/** Connections of all fronts together, and one user's share of them: half, so that nobody alone keeps the others out. */
export interface ConnectionLimits {
  readonly all: number;
  readonly ofOneUser: number;
}

/** What a connection has open: itself, and what keeps its process in view. */
const DESCRIPTORS = 2;
/** For everything else, and for telling somebody that there are too many. */
const OTHER_DESCRIPTORS = 256;
/** The vault's own limit is twice that. */
const MOST_CONNECTIONS = 4096;

/** @param openFiles descriptors the process may have */
export function connectionLimits(openFiles = openFilesAtMost()): ConnectionLimits {
  const room = Math.floor((openFiles - OTHER_DESCRIPTORS) / DESCRIPTORS);
  const all = Math.max(2, Math.min(MOST_CONNECTIONS, room));
  return { all, ofOneUser: Math.floor(all / 2) };
}

export function createCallers(link: VaultLink, identify: Identify, limits = connectionLimits()): Callers {
  const admitted = new Map<Socket, { identity: Identity; caller: CallerHandle }>();
  const connectionsOf = new Map<number, number>();

  function count(uid: number, change: number): void {
    const connections = (connectionsOf.get(uid) ?? 0) + change;
    if (connections > 0) connectionsOf.set(uid, connections);
    else connectionsOf.delete(uid);
  }

  return {
    admit(socket, front) {
      let identity: Identity;
      try {
        identity = identify(socket, front);
      } catch {
        return "unknown";
      }
      const { uid } = identity.facts;
      if (admitted.size >= limits.all || (connectionsOf.get(uid) ?? 0) >= limits.ofOneUser) {
        identity.close();
        return "too many";
      }
      count(uid, 1);
      const caller = link.openCaller(identity.facts, { programSha256: () => identity.programSha256() });
      admitted.set(socket, { identity, caller });
      socket.once("close", () => {
        admitted.delete(socket);
        count(uid, -1);
        caller.close();
        identity.close();
      });
      return caller;
    },
    limits,
    of: (socket) => admitted.get(socket)?.caller,
    another(socket, event) {
      const identity = admitted.get(socket)?.identity;
      if (identity === undefined) return undefined;
      return link.openCaller(identity.facts, {
        programSha256: () => identity.programSha256(),
        ...(event && { event }),
      });
    },
    get connections() {
      return admitted.size;
    },
  };
}
