/** The HTTP front: Fastify on api.sock, with limits, and the routes of its neighbours. */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import fastify, { type FastifyRequest } from "fastify";
import { type ErrorCode, ThornkeyError } from "../../errors.ts";
import { http } from "../../machine/http.ts";
import { MAXIMUM_FRAME } from "../../operations/protocol.ts";
import { type Callers, REFUSED_AT_MOST } from "../callers.ts";
import type { Front } from "../gate.ts";
import { listenAt } from "../sockets.ts";
import type { VaultLink } from "../vault-link.ts";
import { sendFailure, sendJson } from "./answers.ts";
import { addEvents } from "./events.ts";
import { addHealth } from "./health.ts";
import { JSON_TYPE } from "./media.ts";
import { addMetrics } from "./metrics.ts";
import { addOperations } from "./operations.ts";
import { createTally } from "./tally.ts";
import { inTurns } from "./turns.ts";

const { createServer, STATUS_CODES } = http;

const FRONT = "http";

/** Whoever is gone already. */
const NOBODY = -1;

/** JSON carries bytes as base64url, which is a third longer. */
const BODY_BYTES = Math.ceil((MAXIMUM_FRAME * 4) / 3);

/** Milliseconds and counts beyond which a client is sent away. */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  /** All of the headers must be there; a client that trickles them holds nothing for longer. */
  headersTimeout: 10_000,
  /** All of the request must be there. */
  requestTimeout: 30_000,
  /** Between two requests. */
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 2_000,
  /** Nothing read and nothing written; longer than anybody is asked for a confirmation. */
  idleTimeout: 300_000,
  headersCount: 64,
  /** A key's name of 110 characters, each percent-encoded. */
  parameterLength: 330,
} as const;

/** No route has a schema of Fastify's, so its compilers are not loaded: that saves 100 ms at the start. */
const NO_COMPILERS = {
  buildValidator: (() => () => () => true) as never,
  buildSerializer: () => () => JSON.stringify,
};

/**
 * @param path of the socket
 * @param version of Thornkey, for the OpenAPI document
 * @throws ThornkeyError `FAILED` when the socket cannot be had
 */
export async function serveHttp(path: string, link: VaultLink, callers: Callers, version: string): Promise<Front> {
  const sockets = new Set<Socket>();
  const tally = createTally();
  let server: Server | undefined;
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES,
    routerOptions: { maxParamLength: LIMITS.parameterLength },
    exposeHeadRoutes: false,
    schemaController: { compilersFactory: NO_COMPILERS },
    return503OnClosing: false,
    forceCloseConnections: true,
    requestTimeout: LIMITS.requestTimeout,
    keepAliveTimeout: LIMITS.keepAliveTimeout,
    clientErrorHandler: (error, socket) => refuseBytes(error, socket),
    frameworkErrors: (error, _request, reply) => void sendFailure(reply, error),
    serverFactory: (handler) => {
      const { maxHeaderSize, headersTimeout, requestTimeout, keepAliveTimeout, connectionsCheckingInterval } = LIMITS;
      server = createServer(
        { maxHeaderSize, headersTimeout, requestTimeout, keepAliveTimeout, connectionsCheckingInterval },
        inTurns(handler, (socket) => callers.of(socket)?.facts.uid ?? NOBODY),
      );
      server.timeout = LIMITS.idleTimeout;
      server.maxConnections = callers.limits.all + REFUSED_AT_MOST;
      server.maxHeadersCount = LIMITS.headersCount;
      return server;
    },
  });

  // Bodies are read here, as bytes, and understood where it is known what they are for.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (request, payload, done) => {
    readBody(request, payload).then((body) => done(null, body), done);
  });
  app.addHook("onResponse", async (_request, reply) => tally.answered(reply.statusCode));
  app.setErrorHandler((error, _request, reply) => sendFailure(reply, error));
  app.setNotFoundHandler((_request, reply) => {
    const error = new ThornkeyError("USAGE", "there is nothing here", { hint: "GET /openapi.json" });
    const { code, message, hint } = error;
    return sendJson(reply, 404, { code, message, hint });
  });

  const desk = { link, callers, tally };
  addOperations(app, desk);
  addEvents(app, desk);
  addHealth(app, desk);
  addMetrics(app, desk);
  app.get("/openapi.json", async (_request, reply) => {
    const { openApiDocument } = await import("./openapi.ts"); // only here: few ask for it
    return sendJson(reply, 200, openApiDocument(version));
  });

  await app.ready();
  if (server === undefined) throw new Error("Fastify made no server");
  server.prependListener("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const admitted = callers.admit(socket, FRONT);
    if (admitted === "unknown") socket.destroy();
    else if (admitted === "too many") refuse(socket, TOO_MANY);
  });
  const remove = await listenAt(server, path);
  const listening = server;

  return {
    async close() {
      remove();
      const closed = new Promise<void>((resolve) => listening.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await app.close();
    },
  };
}

/** Collects a body, and zeroes the pieces it came in. */
async function readBody(request: FastifyRequest, payload: AsyncIterable<Buffer>): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > BODY_BYTES) throw tooLong();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of payload) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > BODY_BYTES) throw tooLong();
  }
  const body = Buffer.alloc(length);
  let position = 0;
  for (const chunk of chunks) {
    position += chunk.copy(body, position);
    chunk.fill(0);
  }
  return body;
}

function tooLong(): Error {
  return Object.assign(new Error("body too long"), { statusCode: 413 });
}

type EarlyRefusal = readonly [status: number, code: ErrorCode, sentence: string];

const NOT_HTTP: EarlyRefusal = [400, "MALFORMED", "not an HTTP request"];
/** What Node finds wrong before there is a request, by the code of its error. */
const EARLY: { readonly [code: string]: EarlyRefusal } = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "TIMED_OUT", "the request came too slowly"],
  HPE_HEADER_OVERFLOW: [431, "USAGE", "the headers are too long"],
};
const TOO_MANY: EarlyRefusal = [429, "LIMIT_REACHED", "you have too many connections already"];

function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) socket.destroy();
  else refuse(socket, EARLY[error.code ?? ""] ?? NOT_HTTP);
}

/** Answers without a request, and ends the connection. */
function refuse(socket: Socket, [status, code, message]: EarlyRefusal): void {
  const body = JSON.stringify({ code, message });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "connection: close",
    `content-type: ${JSON_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.once("error", () => socket.destroy());
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
