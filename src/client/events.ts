/** What happens in the vault, from the gate's stream of server-sent events (WHATWG HTML, 9.2). */
import type { IncomingMessage } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { ThornkeyError } from "../errors.ts";
import { check } from "../operations/shape.ts";
import { EVENT, type VaultEvent } from "../operations/table.ts";
import { errorFrom } from "./caller.ts";
import type { Transport } from "./transport.ts";

export interface EventOptions {
  /** The sequence number of the last event that is known already; without it, what happens from now on. */
  readonly after?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How long the gate may take to begin, in milliseconds, each time. */
const BEGIN_MILLISECONDS = 60_000;
/** The gate says something every 15 s; after so many milliseconds of silence it is gone. */
const SILENCE_MILLISECONDS = 45_000;
const AGAIN_MILLISECONDS = 100;
/** The longest event there is, with room. */
const LONGEST = 64 * 1024;

/**
 * Every event of the journal once, in order, also across restarts of gate and vault. Ends when the signal fires.
 *
 * @throws ThornkeyError `NOT_PERMITTED`, or `VAULT_UNAVAILABLE` when the gate stays away for a minute
 */
export async function* readEvents(transport: Transport, options: EventOptions): AsyncGenerator<VaultEvent, void> {
  const { signal } = options;
  let last = options.after;
  while (!signal?.aborted) {
    let response: IncomingMessage;
    try {
      response = await transport.open({
        ...{ method: "GET", path: "/v1/events", signal, deadline: BEGIN_MILLISECONDS },
        headers: { accept: "text/event-stream", ...(last !== undefined && { "last-event-id": `${last}` }) },
      });
    } catch (error) {
      if (signal?.aborted) return;
      throw error;
    }
    const end = () => response.destroy();
    signal?.addEventListener("abort", end);
    try {
      if (response.statusCode !== 200) throw await failureOf(response);
      response.setTimeout(SILENCE_MILLISECONDS, end);
      // The id of a message without data is where the stream begins, before anything has happened.
      for await (const { id, data } of messages(response)) {
        // Without an id it is in no journal, and only who listens hears of it.
        if (id !== undefined && last !== undefined && id <= last) continue;
        last = id ?? last;
        if (data !== undefined) yield data;
      }
    } catch (error) {
      if (error instanceof ThornkeyError) throw error;
      // Otherwise the connection broke: again, from where it was.
    } finally {
      signal?.removeEventListener("abort", end);
      response.destroy();
    }
    if (!signal?.aborted) await pause(AGAIN_MILLISECONDS);
  }
}

async function failureOf(response: IncomingMessage): Promise<ThornkeyError> {
  let text = "";
  for await (const chunk of response) text += chunk;
  try {
    return errorFrom(JSON.parse(text));
  } catch {
    return errorFrom(undefined);
  }
}

interface Message {
  readonly id?: number;
  readonly data?: VaultEvent;
}

/** Cuts the stream at its empty lines. A message that the connection's end cuts off is not one. */
async function* messages(response: IncomingMessage): AsyncGenerator<Message> {
  response.setEncoding("utf8");
  let pending = "";
  for await (const chunk of response) {
    pending += chunk;
    for (let end = pending.indexOf("\n\n"); end >= 0; end = pending.indexOf("\n\n")) {
      yield messageOf(pending.slice(0, end));
      pending = pending.slice(end + 2);
    }
    if (pending.length > LONGEST) throw new ThornkeyError("MALFORMED", "an event without end");
  }
}

function messageOf(block: string): Message {
  const field = (name: string) =>
    block
      .split("\n")
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2);
  const [id, data] = [field("id"), field("data")];
  return {
    ...(id !== undefined && { id: Number(id) }),
    ...(data !== undefined && { data: check(EVENT, JSON.parse(data), "event") }),
  };
}
