/**
 * GET /v1/events: what happens, as server-sent events (WHATWG HTML, 9.2). The id of an event is its sequence number, so
 * a client that comes back with `Last-Event-ID` misses nothing and sees nothing twice; the stream itself does the same
 * with the vault when that was away, and with a client that reads slowly.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ThornkeyError } from "../../errors.ts";
import type { ArgsOf, ReplyOf, VaultEvent } from "../../operations/table.ts";
import type { CallerHandle } from "../vault-link.ts";
import { argumentsOf } from "./arguments.ts";
import { type Desk, goneSignal } from "./operations.ts";

/** How often something is said when nothing happens, in milliseconds. */
const KEEP_ALIVE_MILLISECONDS = 15_000;
/** Bytes a client has not read yet beyond which nothing more is taken from the vault. */
const HIGH_WATER = 256 * 1024;
/** How long a client may leave them unread, in milliseconds. */
const STALLED_MILLISECONDS = 60_000;
/** What a browser waits before it comes back, in milliseconds. */
const RETRY_MILLISECONDS = 1000;

/** The number of an event that is in no journal: only who listens when it happens hears of it. */
const PASSING = 0;

export function addEvents(app: FastifyInstance, desk: Desk): void {
  const stream = async (request: FastifyRequest, reply: FastifyReply) => {
    const { after } = argumentsOf("events.subscribe", request) as ArgsOf<"events.subscribe">;
    await serve(desk, request, reply, lastEventId(request) ?? after);
    return reply;
  };
  app.get("/v1/events", stream);
  app.post("/v1/events/subscribe", stream);
}

function lastEventId(request: FastifyRequest): number | undefined {
  const given = request.headers["last-event-id"];
  if (given === undefined) return undefined;
  if (typeof given !== "string" || !/^[0-9]{1,15}$/.test(given)) {
    throw new ThornkeyError("USAGE", "Last-Event-ID is not the number of an event");
  }
  return Number(given);
}

async function serve(
  { link, callers }: Desk,
  request: FastifyRequest,
  reply: FastifyReply,
  after: number | undefined,
): Promise<void> {
  const gone = goneSignal(reply);
  const out = reply.raw;
  /** The last event that was written, or where to begin. */
  let last = after;
  let caller: CallerHandle | undefined;
  let stalled: NodeJS.Timeout | undefined;
  /** Events that come before the head of the answer is out and it is known from where on they are wanted. */
  let early: VaultEvent[] | undefined = [];

  function write(event: VaultEvent): void {
    if (early !== undefined) {
      early.push(event);
      return;
    }
    if (caller === undefined) return;
    const passing = event.sequence === PASSING;
    if (!passing && last !== undefined && event.sequence <= last) return;
    if (!passing) last = event.sequence;
    const id = passing ? "" : `id: ${event.sequence}\n`;
    out.write(`${id}event: ${oneLine(event.kind)}\ndata: ${JSON.stringify(event)}\n\n`);
    if (out.writableLength > HIGH_WATER) pause();
  }

  function pause(): void {
    leave();
    stalled = setTimeout(() => out.destroy(), STALLED_MILLISECONDS);
    out.once("drain", () => {
      clearTimeout(stalled);
      subscribe().catch(() => out.end());
    });
  }

  function leave(): void {
    caller?.close();
    caller = undefined;
  }

  /** Begins after the last event; the vault sends again what this client has not had. */
  async function subscribe(): Promise<void> {
    leave();
    const mine = callers.another(request.raw.socket, (event) => {
      if (caller === mine) write(event);
    });
    if (mine === undefined) throw new ThornkeyError("ABORTED", "the connection ended");
    caller = mine;
    const args = last === undefined ? {} : { after: last };
    try {
      const reply = (await link.call(mine, "events.subscribe", args, { signal: gone })) as ReplyOf<"events.subscribe">;
      last ??= reply.sequence;
    } catch (error) {
      if (caller === mine) throw error; // else another attempt has taken over
    }
  }

  try {
    await subscribe();
  } catch (error) {
    leave();
    throw error; // a refusal is still an ordinary answer
  }
  reply.hijack();
  out.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" });
  // An id without data: a client that has had nothing yet knows all the same where to go on from.
  out.write(`retry: ${RETRY_MILLISECONDS}\nid: ${last}\n\n`);
  const held = early;
  early = undefined;
  for (const event of held) write(event);
  const stopListening = link.onConnected(() => {
    if (caller !== undefined) subscribe().catch(() => out.end());
  });
  const keepAlive = setInterval(() => {
    if (!out.writableNeedDrain) out.write(": still here\n\n");
  }, KEEP_ALIVE_MILLISECONDS);
  const end = () => {
    clearInterval(keepAlive);
    clearTimeout(stalled);
    stopListening();
    leave();
  };
  if (out.destroyed || gone.aborted) end();
  else out.once("close", end);
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n\0]/g, " ");
}
