/**
 * One client: the version byte, then requests and answers. Within a session requests are done in their order; between
 * sessions answers overtake each other, as the client allows. Nobody is left without an answer: the client has no
 * deadline of its own, and waits for ever for one that does not come.
 */
import type { Socket } from "node:net";
import { concat } from "../../bytes/bytes.ts";
import { writeNow } from "../../machine/socket-write.ts";
import { handlers } from "./all-calls.ts";
import type { Application } from "./application.ts";
import type { CallName } from "./calls.ts";
import { type Dialect, type Request, readRequest, writeFailure, writeReply } from "./codec.ts";
import { CKR } from "./constants.ts";
import { createFrameReader, frameOf } from "./frames.ts";
import { refuse, rvOf } from "./refusals.ts";

/** The newest version of the protocol that is spoken here. */
const NEWEST = 2;
/** Requests of one connection that are being done or wait; beyond it nothing more is read. */
const MOST_PENDING = 256;
/** Bytes of answers the client has not read beyond which nothing more is read from it. */
const HIGH_WATER = 1 << 20;
/** How long a client may take until it has said what it is, in milliseconds. */
const GREETING_MILLISECONDS = 30_000;

/** Calls whose first argument is no session; the answers of these wait for nobody. */
const WITHOUT_SESSION: ReadonlySet<CallName> = new Set([
  ...(["Initialize", "Finalize", "GetInfo", "GetSlotList", "GetSlotInfo", "GetTokenInfo", "GetMechanismList"] as const),
  ...(["GetMechanismInfo", "InitToken", "InitToken2", "OpenSession", "CloseAllSessions", "WaitForSlotEvent"] as const),
]);

/** Work of one session, in its order. */
interface Line {
  busy: boolean;
  readonly waiting: (() => void)[];
}

/**
 * @param open makes the application when the client has said which version it speaks; throws a Refusal for somebody who
 *   is not to be served, who then hears it of every call
 */
export function serveClient(socket: Socket, open: (dialect: Dialect) => Application): void {
  const frames = createFrameReader();
  const lines = new Map<number, Line>();
  let client: { readonly dialect: Dialect; readonly application: Application | undefined; rv: number } | undefined;
  let pending = 0;
  let out: Uint8Array[] = [];

  socket.setTimeout(GREETING_MILLISECONDS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    try {
      frames.push(greeted(chunk), take);
    } catch {
      socket.destroy(); // nobody can tell where the next frame begins
    }
    chunk.fill(0);
  });
  socket.on("drain", () => readOn());
  socket.once("close", () => {
    frames.close();
    client?.application?.closeAllSessions();
  });

  /** The first byte of the stream is the client's version. @returns the rest */
  function greeted(chunk: Uint8Array): Uint8Array {
    const [version] = chunk;
    if (client !== undefined || version === undefined) return chunk;
    const dialect: Dialect = { version, width: undefined };
    send(Uint8Array.of(Math.min(version, NEWEST)));
    try {
      client = { dialect, application: open(dialect), rv: CKR.OK };
      socket.setTimeout(0);
    } catch (error) {
      client = { dialect, application: undefined, rv: rvOf(error) };
    }
    return chunk.subarray(1);
  }

  function take(code: number, body: Uint8Array): void {
    if (client === undefined || socket.destroyed) return;
    const { dialect, application, rv } = client;
    pending++;
    if (pending >= MOST_PENDING) socket.pause();
    let request: Request;
    try {
      request = readRequest(body, dialect);
      if (application === undefined) refuse(rv);
      if (!application.initialized && request.call.name !== "Initialize") refuse(CKR.DEVICE_ERROR);
    } catch (error) {
      answer(writeFailure(rvOf(error), dialect));
      return;
    }
    const { name } = request.call;
    const [session] = request.args;
    if (WITHOUT_SESSION.has(name) || typeof session !== "number" || !application.sessions.has(session)) {
      void perform();
      return;
    }
    const line = lines.get(session) ?? { busy: false, waiting: [] };
    lines.set(session, line);
    if (line.busy) line.waiting.push(() => inLine(session, line));
    else inLine(session, line);

    function inLine(session: number, line: Line): void {
      const done = perform();
      if (done !== undefined) {
        line.busy = true;
        void done.then(() => {
          line.busy = false;
          while (!line.busy && line.waiting.length > 0) line.waiting.shift()?.();
          if (!line.busy) lines.delete(session);
        });
      } else if (line.waiting.length === 0 && !line.busy) lines.delete(session);
    }

    /** @returns nothing when it is done already */
    function perform(): Promise<void> | undefined {
      try {
        const results = (handlers[name] as AnyHandler | undefined)?.(application as Application, ...request.args);
        if (results === undefined) refuse(CKR.FUNCTION_NOT_SUPPORTED);
        if (results instanceof Promise) return results.then(succeed, fail);
        succeed(results);
      } catch (error) {
        fail(error);
      }
      return undefined;
    }

    function succeed(results: readonly unknown[]): void {
      try {
        answer(writeReply(request.call, results, dialect));
      } catch (error) {
        fail(error);
      }
    }

    function fail(error: unknown): void {
      answer(writeFailure(rvOf(error), dialect));
    }

    function answer(reply: Uint8Array): void {
      body.fill(0);
      send(frameOf(code, reply));
      reply.fill(0);
      pending--;
      readOn();
    }
  }

  /** What is answered in one turn of the event loop leaves in one write. */
  function send(bytes: Uint8Array): void {
    if (out.push(bytes) === 1) queueMicrotask(flush);
  }

  function flush(): void {
    const [first] = out;
    const all = out.length === 1 && first !== undefined ? first : concat(...out);
    if (out.length > 1) for (const part of out) part.fill(0);
    out = [];
    if (socket.destroyed) return;
    writeNow(socket, all);
    all.fill(0);
    if (socket.writableLength > HIGH_WATER) socket.pause();
  }

  function readOn(): void {
    if (pending < MOST_PENDING && socket.isPaused() && socket.writableLength <= HIGH_WATER) socket.resume();
  }
}

type AnyHandler = (
  application: Application,
  ...args: readonly unknown[]
) => readonly unknown[] | Promise<readonly unknown[]>;
