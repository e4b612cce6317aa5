import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Requests of one connection that are worked on at a time: answers leave in order anyway (RFC 9112, 9.3.2). */
const AT_WORK = 4;
/**
 * Requests of one user that are worked on at a time, over all his connections. What comes in one turn of the event loop
 * is all handled before anybody else's: with 256 connections that kept another user waiting for 60 ms.
 */
const AT_WORK_OF_USER = 4;
/** Requests that wait on one connection; whoever sends more without reading answers is sent away. */
const WAITING = 64;
/**
 * Milliseconds after which a request no longer counts as its user's work: it waits for a person, for events or for
 * hardware, and costs us nothing meanwhile.
 */
const LONG = 50;

interface Line {
  readonly user: User;
  /** Requests begun and not answered. */
  atWork: number;
  readonly waiting: (() => void)[];
  /** Stands in its user's row. */
  standing: boolean;
}

interface User {
  readonly uid: number;
  /** Requests begun, not answered, and not yet {@link LONG} under way. */
  atWork: number;
  connections: number;
  /** Connections with something that may be begun, the next one first. */
  readonly row: Line[];
}

/**
 * Lets nobody fill the gate by sending requests without waiting for answers (pipelining), or over many connections.
 *
 * @param userOf the user at the other end of a connection; asked once for each
 * @returns a listener that passes requests on in their connection's turn, and connections in their user's
 */
export function inTurns(handle: RequestListener, userOf: (socket: Socket) => number): RequestListener {
  const lines = new WeakMap<Socket, Line>();
  const users = new Map<number, User>();

  function lineOf(socket: Socket): Line {
    const known = lines.get(socket);
    if (known !== undefined) return known;
    const uid = userOf(socket);
    const user = users.get(uid) ?? { uid, atWork: 0, connections: 0, row: [] };
    users.set(uid, user);
    user.connections++;
    const line: Line = { user, atWork: 0, waiting: [], standing: false };
    lines.set(socket, line);
    socket.once("close", () => {
      line.waiting.length = 0;
      user.connections--;
      forget(user);
    });
    return line;
  }

  function forget(user: User): void {
    if (user.connections === 0 && user.atWork === 0 && users.get(user.uid) === user) users.delete(user.uid);
  }

  function stand(line: Line): void {
    if (line.standing || line.atWork >= AT_WORK || line.waiting.length === 0) return;
    line.standing = true;
    line.user.row.push(line);
  }

  /** Begins what may be begun: one request of each connection, then the next of each. */
  function begin(user: User): void {
    while (user.atWork < AT_WORK_OF_USER) {
      const line = user.row.shift();
      if (line === undefined) return;
      line.standing = false;
      const start = line.waiting.shift();
      if (start === undefined) continue; // its connection has ended
      line.atWork++;
      user.atWork++;
      stand(line);
      start();
    }
  }

  return (request: IncomingMessage, response: ServerResponse) => {
    const line = lineOf(request.socket);
    const { user } = line;
    if (line.waiting.length >= WAITING) {
      request.socket.destroy();
      return;
    }
    line.waiting.push(() => {
      let counted = true;
      const release = () => {
        if (!counted) return;
        counted = false;
        user.atWork--;
        begin(user);
        forget(user);
      };
      const timer = setTimeout(release, LONG);
      response.once("close", () => {
        clearTimeout(timer);
        line.atWork--;
        stand(line);
        release();
        begin(user);
      });
      handle(request, response);
    });
    stand(line);
    begin(user);
  };
}
