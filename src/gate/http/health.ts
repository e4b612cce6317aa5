/** What monitors ask, without any right. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ReplyOf } from "../../operations/table.ts";
import { sendJson } from "./answers.ts";
import { callerOf, type Desk, goneSignal } from "./operations.ts";
import { refusalOf } from "./status.ts";

/** A monitor wants to know now, not when the vault is back. */
const DEADLINE_MILLISECONDS = 2000;

export function addHealth(app: FastifyInstance, desk: Desk): void {
  const status = (request: FastifyRequest, reply: FastifyReply) =>
    desk.link.call(
      callerOf(desk.callers, request),
      "status",
      {},
      {
        signal: goneSignal(reply),
        deadline: DEADLINE_MILLISECONDS,
      },
    ) as Promise<ReplyOf<"status">>;

  app.get("/alive", (_request, reply) => sendJson(reply, 200, { alive: true }));

  app.get("/ready", async (request, reply) => {
    try {
      const { ready } = await status(request, reply);
      return sendJson(reply, ready ? 200 : 503, { ready });
    } catch {
      return sendJson(reply, 503, { ready: false });
    }
  });

  app.get("/state", async (request, reply) => {
    try {
      const { version, state, ready, reason, hint, stage, started } = await status(request, reply);
      return sendJson(reply, 200, { version, state, ready, reason, hint, stage, started });
    } catch (error) {
      const { body, status } = refusalOf(error);
      return sendJson(reply, status, { state: "unavailable", ready: false, reason: body.message, hint: body.hint });
    }
  });
}
