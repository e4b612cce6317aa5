/**
 * The vault's socket: the only door. Whoever may not be the gate is turned away by the kernel's word, and what the gate
 * says is believed only as far as it is well-formed.
 */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { ThornkeyError } from "../errors.ts";
import { peerOf } from "../machine/peer.ts";
import { writeNow } from "../machine/socket-write.ts";
import {
  createFrameReader,
  decodeToVault,
  encodeToGate,
  PROTOCOL_VERSION,
  type ToGate,
  type ToVault,
} from "../operations/protocol.ts";
import { isOperation, type OperationName, operationOf, type VaultEvent } from "../operations/table.ts";
import type { CallerFacts } from "../operations/who.ts";
import { createFairQueue } from "./fair-queue.ts";
import type { Caller } from "./rights.ts";

/** One request of a caller, as the vault's inside gets it. */
export interface Incoming {
  readonly caller: Caller;
  readonly operation: string;
  readonly args: unknown;
  readonly requestKey: Uint8Array | undefined;
  readonly signal: AbortSignal;
  /** Whether other requests wait. */
  readonly othersWait: boolean;
  /** Sends an event to the caller. */
  send(event: VaultEvent): void;
  /** Is called when the caller is gone. */
  onGone(body: () => void): void;
}

export interface Serving {
  close(): Promise<void>;
}

export interface ServeOptions {
  readonly path: string;
  readonly device: () => string;
  /** Users who may be the gate, besides root and our own. */
  readonly gateUids: readonly number[];
  /** Answers a request, or promises to. */
  readonly handle: (incoming: Incoming) => unknown;
}

/** How much one user may have waiting here, and one connection of the gate in callers. */
const WAITING_OF_ONE_USER = 4096;
const CALLERS_AT_MOST = 8192;

/** Milliseconds of work before we look at the socket again. */
const TURN = 1;

/** Milliseconds a looked-for program may take to be told. */
const LOOKUP = 5000;

/** Bytes of answers the gate may leave unread before we stop taking its requests. */
const UNREAD = 4 << 20;

export async function serveVault(options: ServeOptions): Promise<Serving> {
  const { path } = options;
  const queue = createFairQueue<() => void>(WAITING_OF_ONE_USER);
  const connections = new Set<Socket>();
  let scheduled = false;
  let working = false;

  /** Takes turns between users for a while, then lets the socket speak. */
  function work(): void {
    scheduled = false;
    working = true;
    try {
      const end = performance.now() + TURN;
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        next();
        if (performance.now() >= end) break;
      }
      for (const flush of flushes) flush();
    } finally {
      working = false;
    }
    if (queue.size > 0) schedule();
  }

  /** Everything that becomes ready in one turn leaves in one write. */
  function schedule(): void {
    if (scheduled || working) return;
    scheduled = true;
    setImmediate(work);
  }

  const flushes = new Set<() => void>();

  const server: Server = createServer((socket) => {
    let peer: ReturnType<typeof peerOf>;
    try {
      peer = peerOf(socket);
      peer.close();
    } catch {
      socket.destroy();
      return;
    }
    const own = process.getuid?.() ?? 0;
    if (peer.uid !== 0 && peer.uid !== own && !options.gateUids.includes(peer.uid)) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    const connection = createConnection(socket, options, {
      enqueue(principal, body) {
        queue.push(principal, body);
        schedule();
      },
      flushSoon: schedule,
      othersWait: () => queue.size > 0,
    });
    flushes.add(connection.flush);
    socket.on("data", connection.take);
    socket.on("error", () => {}); // the close that follows says it all
    socket.on("close", () => {
      connections.delete(socket);
      flushes.delete(connection.flush);
      connection.gone();
    });
  });

  removeStale(path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });
  chmodSync(path, options.gateUids.length > 0 ? 0o666 : 0o600);
  return {
    async close() {
      for (const socket of connections) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(path, { force: true });
    },
  };
}

function removeStale(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new ThornkeyError("FAILED", `${path} is there already, and is no socket`);
  // The state's lock is ours, so whoever made it has ended.
  rmSync(path, { force: true });
}

interface OpenCaller extends Caller {
  tell(sha256: string | undefined): void;
  readonly goneListeners: Set<() => void>;
}

/** What a connection knows of the vault's one thread. */
interface Turns {
  enqueue(principal: number, body: () => void): void;
  /** Has `flush` called at the end of this turn. */
  flushSoon(): void;
  othersWait(): boolean;
}

function createConnection(socket: Socket, { device, handle }: ServeOptions, { enqueue, flushSoon, othersWait }: Turns) {
  const reader = createFrameReader();
  const callers = new Map<number, OpenCaller>();
  /** Requests under way; the controller is made when somebody wants its signal. */
  const running = new Map<number, { controller?: AbortController; aborted: boolean }>();
  let outgoing: Uint8Array[] = [];
  let closed = false;

  function send(message: ToGate): void {
    if (closed) return;
    outgoing.push(encoded(message));
    flushSoon();
  }

  function flush(): void {
    if (closed || outgoing.length === 0) return;
    const [first] = outgoing;
    const all = outgoing.length === 1 && first !== undefined ? first : Buffer.concat(outgoing);
    outgoing = [];
    writeNow(socket, all);
    if (socket.writableLength > UNREAD) {
      socket.pause();
      socket.once("drain", () => socket.resume());
    }
  }

  function answer(id: number, value: unknown): void {
    running.delete(id);
    send({ kind: "reply", id, value });
  }

  function fail(id: number, error: unknown): void {
    running.delete(id);
    send({ kind: "failure", id, error: houseError(error) });
  }

  const handlers: { [Kind in ToVault["kind"]]: (message: Extract<ToVault, { kind: Kind }>) => void } = {
    caller({ caller: number, facts }) {
      if (callers.size >= CALLERS_AT_MOST && !callers.has(number)) return;
      callers.get(number)?.goneListeners.forEach((body) => {
        body();
      });
      callers.set(
        number,
        openCaller(facts, () => send({ kind: "lookUpProgram", caller: number })),
      );
    },
    gone({ caller: number }) {
      const caller = callers.get(number);
      callers.delete(number);
      caller?.goneListeners.forEach((body) => {
        body();
      });
    },
    program: ({ caller, sha256 }) => callers.get(caller)?.tell(sha256),
    cancel: ({ id }) => abort(running.get(id)),
    request({ id, caller: number, operation, args, requestKey }) {
      const caller = callers.get(number);
      if (caller === undefined) {
        fail(id, new ThornkeyError("NOT_PERMITTED", "nobody with that number was introduced"));
        return;
      }
      if (running.has(id)) {
        fail(id, new ThornkeyError("USAGE", "a request with that number is under way"));
        return;
      }
      const entry: { controller?: AbortController; aborted: boolean } = { aborted: false };
      running.set(id, entry);
      const incoming: Incoming = {
        caller,
        operation,
        args,
        requestKey,
        get signal() {
          entry.controller ??= new AbortController();
          if (entry.aborted) entry.controller.abort();
          return entry.controller.signal;
        },
        get othersWait() {
          return othersWait();
        },
        send: (event) => send({ kind: "event", caller: number, event }),
        onGone: (body) => void caller.goneListeners.add(body),
      };
      try {
        enqueue(caller.facts.uid, () => run(id, incoming, entry));
      } catch (error) {
        fail(id, error);
      }
    },
  };

  function run(id: number, incoming: Incoming, entry: { aborted: boolean }): void {
    if (entry.aborted) {
      fail(id, new ThornkeyError("ABORTED", "the request was withdrawn"));
      return;
    }
    let result: unknown;
    try {
      result = handle(incoming);
    } catch (error) {
      fail(id, error);
      return;
    }
    if (!(result instanceof Promise)) {
      answer(id, result);
      return;
    }
    const deadline = isOperation(incoming.operation) ? operationOf(incoming.operation as OperationName).deadline : 0;
    let over = false;
    const timer = setTimeout(() => {
      over = true;
      abort(running.get(id));
      fail(id, new ThornkeyError("TIMED_OUT", "this was not done in time"));
    }, deadline + MARGIN);
    result.then(
      (value) => {
        clearTimeout(timer);
        if (!over) answer(id, value);
      },
      (error) => {
        clearTimeout(timer);
        if (!over) fail(id, error);
      },
    );
  }

  send({ kind: "hello", version: PROTOCOL_VERSION, device: device() });
  return {
    flush,
    take(chunk: Uint8Array) {
      try {
        // As a plain array: a Buffer's slices are views, and what a request carries must be its own.
        reader.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength), (frame) => {
          let message: ToVault;
          try {
            message = decodeToVault(frame);
          } catch (error) {
            // Well framed, and nonsense: the next frame may be sound.
            send({ kind: "failure", id: 0, error: houseError(error) });
            return;
          }
          handlers[message.kind](message as never);
        });
      } catch {
        socket.destroy(); // nobody can tell any more where a frame begins
      }
    },
    gone() {
      closed = true;
      for (const entry of running.values()) abort(entry);
      for (const caller of callers.values()) for (const body of caller.goneListeners) body();
      callers.clear();
    },
  };
}

function abort(entry: { controller?: AbortController; aborted: boolean } | undefined): void {
  if (entry === undefined) return;
  entry.aborted = true;
  entry.controller?.abort();
}

/** The gate gives up first; this is for requests that nobody waits for any more. Milliseconds. */
const MARGIN = 70_000;

function openCaller(facts: CallerFacts, ask: () => void): OpenCaller {
  let asked: Promise<string | undefined> | undefined;
  let settle: ((sha256: string | undefined) => void) | undefined;
  return {
    facts,
    goneListeners: new Set(),
    programSha256: () => {
      asked ??= new Promise((resolve) => {
        settle = resolve;
        setTimeout(() => resolve(undefined), LOOKUP).unref();
        ask();
      });
      return asked;
    },
    tell: (sha256) => settle?.(sha256),
  };
}

function encoded(message: ToGate): Uint8Array {
  try {
    return encodeToGate(message);
  } catch (error) {
    if (message.kind !== "reply") throw error;
    return encodeToGate({ kind: "failure", id: message.id, error: houseError(error) });
  }
}

/** Whatever was thrown, as something that may be told: nothing of our inside in it. */
function houseError(error: unknown): ThornkeyError {
  if (error instanceof ThornkeyError) return error;
  if (process.env.THORNKEY_TRACE !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return new ThornkeyError("FAILED", "the vault failed inside; nothing was given out", {
    hint: "this is a defect of Thornkey; please report it",
  });
}
