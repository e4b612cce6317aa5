/**
 * Requests over the gate's socket. While the gate is away they wait and are sent again, until their deadline: a gate
 * that restarts is only a delay.
 */
import type { Agent, IncomingMessage } from "node:http";
import { ThornkeyError } from "../errors.ts";
import { http } from "../machine/http.ts";

export interface Sent {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly headers: { readonly [name: string]: string };
  readonly body?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds from now until `VAULT_UNAVAILABLE` or `TIMED_OUT`. */
  readonly deadline: number;
}

export interface Received {
  readonly status: number;
  readonly body: Buffer;
}

export interface Transport {
  /** @throws ThornkeyError `VAULT_UNAVAILABLE`, `TIMED_OUT`, `ABORTED` */
  ask(sent: Sent): Promise<Received>;
  /** As {@link Transport.ask}, but with the body still to come. The deadline is that of the head. */
  open(sent: Sent): Promise<IncomingMessage>;
  close(): void;
}

/** Connections at a time; further requests wait for one to be free. */
const CONNECTIONS = 8;
/** Milliseconds from one attempt to reach the gate to the next. */
const BACKOFF = { first: 5, most: 250 } as const;
/** What a gate that is not there, or that goes away, looks like. */
const AWAY = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "EPIPE", "EAGAIN"]);

/** @param socketPath the gate's api.sock */
export function createTransport(socketPath: string): Transport {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS, maxFreeSockets: CONNECTIONS });
  /** For streams, which keep their connections: they must not use up those of requests. */
  const streams = new http.Agent();
  const closing = new AbortController();

  /** Does it once; whatever the answer is taken with also counts as part of the attempt. */
  function attempt<T>(
    via: Agent,
    sent: Sent,
    until: number,
    take: (response: IncomingMessage) => Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { method, path, headers, body } = sent;
      const length = body === undefined ? {} : { "content-length": `${body.length}` };
      const request = http.request({ socketPath, agent: via, method, path, headers: { ...headers, ...length } });
      const abort = () => request.destroy(new ThornkeyError("ABORTED", "the request was given up"));
      const timer = setTimeout(() => request.destroy(timedOut()), Math.max(0, until - performance.now()));
      const settle = () => {
        clearTimeout(timer);
        sent.signal?.removeEventListener("abort", abort);
        closing.signal.removeEventListener("abort", abort);
      };
      sent.signal?.addEventListener("abort", abort);
      closing.signal.addEventListener("abort", abort);
      request.on("error", (error) => {
        settle();
        reject(error);
      });
      request.once("response", (response) => {
        take(response).then(resolve, reject).finally(settle);
      });
      request.end(body);
    });
  }

  async function persist<T>(via: Agent, sent: Sent, take: (response: IncomingMessage) => Promise<T>): Promise<T> {
    const until = performance.now() + sent.deadline;
    for (let backoff: number = BACKOFF.first; ; backoff = Math.min(backoff * 2, BACKOFF.most)) {
      if (sent.signal?.aborted || closing.signal.aborted)
        throw new ThornkeyError("ABORTED", "the request was given up");
      try {
        return await attempt(via, sent, until, take);
      } catch (cause) {
        if (cause instanceof ThornkeyError) throw cause;
        const { code } = cause as NodeJS.ErrnoException;
        if (code === "EACCES") throw noAccess(socketPath, cause);
        if (code === undefined || !AWAY.has(code)) {
          throw new ThornkeyError("FAILED", "the gate's answer could not be read", { cause });
        }
        if (performance.now() + backoff >= until) throw unavailable(socketPath, cause);
      }
      await pause(backoff, sent.signal);
    }
  }

  return {
    ask: (sent) =>
      persist(agent, sent, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        const body = Buffer.concat(chunks);
        for (const chunk of chunks) chunk.fill(0); // it may hold a secret, and is not needed any more
        return { status: response.statusCode ?? 0, body };
      }),
    open: (sent) => persist(streams, sent, async (response) => response),
    close() {
      closing.abort();
      agent.destroy();
      streams.destroy();
    },
  };
}

/** Returns early when the signal fires. */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
  });
}

function timedOut(): ThornkeyError {
  return new ThornkeyError("TIMED_OUT", "the gate did not answer in time");
}

function unavailable(path: string, cause: unknown): ThornkeyError {
  return new ThornkeyError("VAULT_UNAVAILABLE", `nothing serves at ${path}`, {
    hint: "systemctl status thornkey-gate, or start both with: thornkey up; THORNKEY_RUN names another folder",
    cause,
  });
}

function noAccess(path: string, cause: unknown): ThornkeyError {
  return new ThornkeyError("NOT_PERMITTED", `${path} may not be opened`, { cause });
}
