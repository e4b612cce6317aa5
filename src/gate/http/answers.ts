/** How replies and failures are written. */
import type { FastifyReply } from "fastify";
import { encodeStrictly } from "../../operations/protocol.ts";
import { toJson } from "../../operations/shape.ts";
import { type OperationName, operationOf } from "../../operations/table.ts";
import { wipe } from "../wipe.ts";
import { type Answer, CBOR, JSON_TYPE, RAW_REPLY, SECRET_REPLIES } from "./media.ts";
import { refusalOf } from "./status.ts";

/** Sends the reply of an operation, and zeroes what is secret in it. */
export function answer(reply: FastifyReply, name: OperationName, type: Answer, value: unknown): FastifyReply {
  const { reply: shape } = operationOf(name);
  if (type === JSON_TYPE) return sendJson(reply, 200, toJson(shape, value));
  const bytes = type === CBOR ? encodeStrictly(value) : rawPart(name, value);
  reply.header("content-type", type).header("cache-control", "no-store");
  if (SECRET_REPLIES.has(name)) {
    reply.raw.once("close", () => {
      wipe(shape, value);
      bytes.fill(0);
    });
  }
  // A Buffer, so that Node writes the bytes as they are and never as part of a string.
  return reply.send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function rawPart(name: OperationName, value: unknown): Uint8Array {
  const part = (value as Record<string, unknown>)[RAW_REPLY.get(name) ?? ""];
  return part instanceof Uint8Array ? part : new Uint8Array(0);
}

export function sendJson(reply: FastifyReply, status: number, value: unknown): FastifyReply {
  return reply
    .code(status)
    .header("content-type", `${JSON_TYPE}; charset=utf-8`)
    .header("cache-control", "no-store")
    .send(JSON.stringify(value));
}

/** Errors are CBOR where answers would be, so that a caller has one decoder; else JSON. */
export function sendFailure(reply: FastifyReply, error: unknown): FastifyReply {
  const { status, body } = refusalOf(error);
  if (status === 429 || status === 503) reply.header("retry-after", "1");
  if (reply.request.headers.accept === CBOR) {
    const bytes = encodeStrictly(body);
    reply.code(status).header("content-type", CBOR);
    return reply.send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
  return sendJson(reply, status, body);
}
