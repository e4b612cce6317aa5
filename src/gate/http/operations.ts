/** A route for every operation, from the table; and one door for all of them. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { fromHex } from "../../bytes/bytes.ts";
import { ThornkeyError } from "../../errors.ts";
import { isOperation, OPERATION_NAMES, type OperationName, operationOf } from "../../operations/table.ts";
import type { Callers } from "../callers.ts";
import type { CallerHandle, VaultLink } from "../vault-link.ts";
import { wipe } from "../wipe.ts";
import { answer } from "./answers.ts";
import { argumentsOf } from "./arguments.ts";
import { wanted } from "./media.ts";
import type { Tally } from "./tally.ts";

/** 32 hexadecimal digits a caller chooses; with them a repeated request that changes something is done once. */
export const REQUEST_KEY_HEADER = "thornkey-request";

/** What the routes work with. */
export interface Desk {
  readonly link: VaultLink;
  readonly callers: Callers;
  readonly tally: Tally;
}

/** `events.subscribe` is a stream, and has routes of its own (events.ts). */
const STREAM: OperationName = "events.subscribe";

export function addOperations(app: FastifyInstance, desk: Desk): void {
  for (const name of OPERATION_NAMES) {
    if (name === STREAM) continue;
    const { method, path } = operationOf(name).http;
    app.route({ method, url: routeOf(path), handler: (request, reply) => perform(desk, name, request, reply) });
  }
  app.post("/v1/call/:operation", (request, reply) => {
    const { operation } = request.params as { operation: string };
    if (!isOperation(operation))
      throw new ThornkeyError("USAGE", "there is no such operation", { hint: "GET /openapi.json" });
    if (operation === STREAM) {
      throw new ThornkeyError("USAGE", "events are a stream", { hint: "GET /v1/events" });
    }
    return perform(desk, operation, request, reply);
  });
}

/** `/v1/keys/{key}` as Fastify writes it. */
export function routeOf(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

async function perform(
  { link, callers, tally }: Desk,
  name: OperationName,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const type = wanted(request.headers.accept, name);
  const args = argumentsOf(name, request);
  const gone = goneSignal(reply);
  let replied: Promise<unknown>;
  try {
    const requestKey = requestKeyOf(request);
    replied = link.call(callerOf(callers, request), name, args, { signal: gone, requestKey });
  } finally {
    wipe(operationOf(name).args, args); // the link keeps a copy of its own until the vault has answered
  }
  const done = tally.begin();
  try {
    return answer(reply, name, type, await replied);
  } finally {
    done();
  }
}

/** @throws ThornkeyError `ABORTED` when the connection ended meanwhile */
export function callerOf(callers: Callers, request: FastifyRequest): CallerHandle {
  const caller = callers.of(request.raw.socket);
  if (caller === undefined) throw new ThornkeyError("ABORTED", "the connection ended");
  return caller;
}

/** @returns a signal that fires when the client goes before it was answered */
export function goneSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

function requestKeyOf(request: FastifyRequest): Uint8Array | undefined {
  const given = request.headers[REQUEST_KEY_HEADER];
  if (given === undefined) return undefined;
  if (typeof given !== "string" || !/^[0-9a-f]{32}$/.test(given)) {
    throw new ThornkeyError("USAGE", `${REQUEST_KEY_HEADER} must be 32 hexadecimal digits, in lower case`);
  }
  return fromHex(given);
}
