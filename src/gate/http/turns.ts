import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Requests of one connection that are worked on at a time: answers leave in order anyway (RFC 9112, 9.3.2). */
const AT_WORK = 4;
/** Requests that wait on one connection; whoever sends more without reading answers is sent away. */
const WAITING = 64;

interface Line {
  atWork: number;
  readonly waiting: (() => void)[];
}

/**
 * Lets nobody fill the gate by sending requests without waiting for answers (pipelining).
 *
 * @returns a listener that passes requests on in their connection's turn
 */
export function inTurns(handle: RequestListener): RequestListener {
  const lines = new WeakMap<Socket, Line>();
  return (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const line = lines.get(socket) ?? { atWork: 0, waiting: [] };
    lines.set(socket, line);
    if (line.waiting.length >= WAITING) {
      socket.destroy();
      return;
    }
    const start = () => {
      line.atWork++;
      response.once("close", () => {
        line.atWork--;
        if (!socket.destroyed) line.waiting.shift()?.();
      });
      handle(request, response);
    };
    if (line.atWork < AT_WORK) start();
    else line.waiting.push(start);
  };
}
