/** The ssh-agent front: SSH_AUTH_SOCK, IdentityAgent and HostKeyAgent of OpenSSH, on ssh-agent.sock. */
import { createServer, type Socket } from "node:net";
import { Writer } from "../../bytes/writer.ts";
import { type Callers, createRefused, REFUSED_AT_MOST } from "../callers.ts";
import type { Front } from "../gate.ts";
import { listenAt } from "../sockets.ts";
import type { VaultLink } from "../vault-link.ts";
import { startConversation } from "./conversation.ts";
import { FRONT } from "./front-name.ts";
import { askerFor, createMemory } from "./identities.ts";
import { createLocks } from "./locks.ts";
import { MAXIMUM_MESSAGE, REPLY } from "./messages.ts";

/** Milliseconds a message that has begun may take to be there. */
const MESSAGE_TIMEOUT = 30_000;
/** Milliseconds somebody may stay who is not served. */
const REFUSED_MILLISECONDS = 10_000;

/**
 * @param path of the socket
 * @throws ThornkeyError `FAILED` when the socket cannot be had
 */
export async function serveSshAgent(path: string, link: VaultLink, callers: Callers): Promise<Front> {
  const sockets = new Set<Socket>();
  const memory = createMemory();
  const locks = createLocks();
  const refused = createRefused(REFUSED_MILLISECONDS);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    const caller = callers.admit(socket, FRONT);
    if (caller === "unknown" || caller === "too many") {
      if (!refused.take(socket)) return;
      // Whatever he asks: no. He hears it, and does not think that the agent broke down.
      socket.once("data", () => socket.end(framed(Uint8Array.of(REPLY.failure))));
      return;
    }
    const ask = askerFor(link, caller);
    const conversation = startConversation({ uid: caller.facts.uid, ask, memory, locks, now: Date.now });
    serve(socket, conversation.answer).catch(() => socket.destroy());
  });
  server.maxConnections = callers.limits.all + REFUSED_AT_MOST;
  const remove = await listenAt(server, path);
  return {
    async close() {
      remove();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function framed(reply: Uint8Array): Uint8Array {
  return new Writer(4 + reply.length).u32be(reply.length).put(reply).done();
}

async function serve(socket: Socket, answer: (message: Uint8Array) => Promise<Uint8Array>): Promise<void> {
  for await (const message of messagesFrom(socket)) {
    const reply = message === "too long" ? Uint8Array.of(REPLY.failure) : await answer(message);
    const written = socket.write(framed(reply));
    if (message === "too long") break;
    if (!written)
      await new Promise<void>((resolve) => {
        socket.once("drain", resolve);
        socket.once("close", () => resolve());
      });
  }
  socket.end();
}

/** A copy of each message, without its length; the pieces it came in are zeroed. */
async function* messagesFrom(socket: Socket): AsyncGenerator<Uint8Array | "too long", void> {
  let held: Buffer = Buffer.alloc(0);
  let limit: NodeJS.Timeout | undefined;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      clearTimeout(limit);
      const joined = Buffer.concat([held, chunk]);
      held.fill(0);
      chunk.fill(0);
      let position = 0;
      while (joined.length - position >= 4) {
        const length = joined.readUInt32BE(position);
        if (length > MAXIMUM_MESSAGE) {
          joined.fill(0);
          yield "too long";
          return;
        }
        if (joined.length - position - 4 < length) break;
        const message = new Uint8Array(joined.subarray(position + 4, position + 4 + length));
        position += 4 + length;
        yield message;
      }
      held = Buffer.from(joined.subarray(position));
      joined.fill(0);
      // A message that is not whole after a while never will be.
      if (held.length > 0) limit = setTimeout(() => socket.destroy(), MESSAGE_TIMEOUT).unref();
    }
  } finally {
    // Also when the connection breaks off, or it would be kept until then.
    clearTimeout(limit);
    held.fill(0);
  }
}
