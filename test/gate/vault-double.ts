/** A small vault for tests of the gate: it speaks the vault protocol, keeps a few things in memory, and can be told. */
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { ThornkeyError } from "../../src/errors.ts";
import {
  createFrameReader,
  decodeToVault,
  encodeToGate,
  PROTOCOL_VERSION,
  type ToVault,
} from "../../src/operations/protocol.ts";
import type { Fields, Shape } from "../../src/operations/shape.ts";
import { check } from "../../src/operations/shape.ts";
import { isOperation, type OperationName, operationOf, type VaultEvent } from "../../src/operations/table.ts";
import type { CallerFacts } from "../../src/operations/who.ts";

type Request = Extract<ToVault, { kind: "request" }>;

/** Answers, fails by throwing, or never answers by returning a promise that does not end. */
export type Handler = (request: Request, caller: CallerFacts) => unknown;

export interface VaultDouble {
  /** What was asked, the last one last. */
  readonly requests: Request[];
  readonly cancelled: number[];
  readonly gone: number[];
  readonly callers: Map<number, CallerFacts>;
  readonly programs: Map<number, string | undefined>;
  handlers: { [Name in OperationName]?: Handler };
  connections(): number;
  /** Sends an event to every subscriber, `times` times, and keeps it for later ones. */
  happen(kind: string, times?: number): void;
  /** Sends an event that is kept nowhere. */
  pass(kind: string): void;
  askProgram(caller: number): void;
  /** Writes bytes to everybody as they are. */
  babble(bytes: Uint8Array): void;
  /** Forgets which requests were done by their request keys. */
  forget(): void;
  /** Ends every connection at once, as a vault that dies does. */
  die(): Promise<void>;
  rise(): Promise<void>;
  close(): Promise<void>;
}

export async function startVaultDouble(path: string): Promise<VaultDouble> {
  const sockets = new Map<Socket, Set<number>>();
  const events: VaultEvent[] = [];
  /** By request key; also what is not done yet, as a vault must not do it twice. */
  const done = new Map<string, Promise<unknown>>();
  let server = createServer();

  const double: VaultDouble = {
    ...{ requests: [], cancelled: [], gone: [], callers: new Map(), programs: new Map(), handlers: {} },
    connections: () => sockets.size,
    happen(kind, times = 1) {
      const event = { sequence: events.length + 1, time: Date.now(), kind, text: `${kind} happened` };
      events.push(event);
      for (const [socket, subscribers] of sockets) {
        for (const caller of subscribers) {
          for (let i = 0; i < times; i++) socket.write(encodeToGate({ kind: "event", caller, event }));
        }
      }
    },
    pass(kind) {
      const event = { sequence: 0, time: Date.now(), kind, text: "now or never" };
      for (const [socket, subscribers] of sockets) {
        for (const caller of subscribers) socket.write(encodeToGate({ kind: "event", caller, event }));
      }
    },
    askProgram(caller) {
      for (const socket of sockets.keys()) socket.write(encodeToGate({ kind: "lookUpProgram", caller }));
    },
    babble(bytes) {
      for (const socket of sockets.keys()) socket.write(bytes);
    },
    forget: () => done.clear(),
    async die() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets.keys()) socket.destroy();
      await closed;
    },
    async rise() {
      rmSync(path, { force: true });
      server = createServer(serve);
      await new Promise<void>((resolve) => server.listen(path, resolve));
    },
    async close() {
      await double.die();
    },
  };

  function serve(socket: Socket): void {
    const subscribers = new Set<number>();
    const told = new Set<number>();
    sockets.set(socket, subscribers);
    const reader = createFrameReader();
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => reader.push(chunk, (frame) => take(decodeToVault(frame))));
    socket.write(encodeToGate({ kind: "hello", version: PROTOCOL_VERSION, device: "0".repeat(32) }));

    function take(message: ToVault): void {
      switch (message.kind) {
        case "caller":
          if (told.has(message.caller)) throw new Error("a caller told twice");
          told.add(message.caller);
          double.callers.set(message.caller, message.facts);
          return;
        case "gone":
          told.delete(message.caller);
          subscribers.delete(message.caller);
          double.gone.push(message.caller);
          return;
        case "cancel":
          double.cancelled.push(message.id);
          return;
        case "program":
          double.programs.set(message.caller, message.sha256);
          return;
        case "request":
          if (!told.has(message.caller)) throw new Error("a request of a caller nobody told of");
          void answer(message);
      }
    }

    async function answer(request: Request): Promise<void> {
      double.requests.push(request);
      try {
        const value = await perform(request);
        socket.write(encodeToGate({ kind: "reply", id: request.id, value }));
        if (request.operation === "events.subscribe") {
          const { after } = request.args as { after?: number };
          subscribers.add(request.caller);
          for (const event of after === undefined ? [] : events.slice(after)) {
            socket.write(encodeToGate({ kind: "event", caller: request.caller, event }));
          }
        }
      } catch (error) {
        const failure = error instanceof ThornkeyError ? error : new ThornkeyError("FAILED", String(error));
        socket.write(encodeToGate({ kind: "failure", id: request.id, error: failure }));
      }
    }
  }

  async function perform(request: Request): Promise<unknown> {
    const name = request.operation;
    if (!isOperation(name)) throw new ThornkeyError("USAGE", "no such operation");
    const { args, reply, changes } = operationOf(name);
    check(args, request.args);
    if (changes !== (request.requestKey !== undefined)) throw new ThornkeyError("USAGE", "request key");
    const key = request.requestKey && Buffer.from(request.requestKey).toString("hex");
    const before = key === undefined ? undefined : done.get(key);
    if (before !== undefined) return before;
    const value = (async () => {
      const handler = double.handlers[name];
      if (handler !== undefined) return handler(request, double.callers.get(request.caller) as CallerFacts);
      return name === "events.subscribe" ? { sequence: events.length } : sample(reply);
    })();
    if (key !== undefined) done.set(key, value);
    return value;
  }

  await double.rise();
  return double;
}

/** The least value of a shape: what a test sends or answers when it does not matter. */
export function sample(shape: Shape): unknown {
  switch (shape.kind) {
    case "bytes":
      return new Uint8Array(shape.minimum).fill(7);
    case "text":
      return textFor(shape.pattern);
    case "integer":
      return Math.max(shape.minimum, Math.min(1, shape.maximum));
    case "flag":
      return true;
    case "one of":
      return shape.names[0];
    case "list":
      return [];
    case "record":
      return Object.fromEntries(
        Object.entries(shape.fields as Fields)
          .filter(([, field]) => field.kind !== "optional")
          .map(([name, field]) => [name, sample(field as Shape)]),
      );
  }
}

function textFor(pattern: RegExp | undefined): string {
  const found = ["tls", "uid:1000", "0".repeat(32)].find((text) => pattern === undefined || pattern.test(text));
  if (found === undefined) throw new Error(`no sample for ${pattern?.source}`);
  return found;
}
