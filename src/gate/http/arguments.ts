/** The arguments of an operation, from path, query and body of an HTTP request. */
import type { FastifyRequest } from "fastify";
import { ThornkeyError } from "../../errors.ts";
import { decodeStrictly } from "../../operations/protocol.ts";
import { check, type Fields, fromJson, type Shape } from "../../operations/shape.ts";
import { type OperationName, operationOf } from "../../operations/table.ts";
import { CBOR, JSON_TYPE, OCTETS, RAW_BODY, typeOf } from "./media.ts";
import { withStatus } from "./status.ts";

/**
 * @param request its body, if any, is a Buffer, and is zeroed
 * @returns what the operation takes, checked
 * @throws ThornkeyError `USAGE`, `MALFORMED`
 */
export function argumentsOf(name: OperationName, request: FastifyRequest): object {
  const { args: shape } = operationOf(name);
  const { operation: _, ...path } = request.params as Record<string, string>;
  const body = Buffer.isBuffer(request.body) ? request.body : undefined;
  try {
    const parts = [
      fromText(shape.fields, path, "path"),
      fromText(shape.fields, request.query as Record<string, unknown>, "query"),
      fromBody(name, typeOf(request), body),
    ];
    const args: Record<string, unknown> = Object.create(null);
    for (const part of parts) {
      for (const [field, value] of Object.entries(part)) {
        if (field in args) throw new ThornkeyError("USAGE", `'${field.slice(0, 40)}' is given twice`);
        args[field] = value;
      }
    }
    return check(shape, args);
  } finally {
    body?.fill(0);
  }
}

/** Values that came as text: numbers and flags are read, and what cannot be read is left for check to judge. */
function fromText(fields: Fields, given: Record<string, unknown>, place: string): object {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
      if (field === undefined || typeof value !== "string") return [name, value];
      return [name, readText(field.kind === "optional" ? field.shape : field, value, `${place}.${name}`)];
    }),
  );
}

function readText(shape: Shape, value: string, path: string): unknown {
  if (shape.kind === "integer") return /^-?[0-9]{1,16}$/.test(value) ? Number(value) : value;
  if (shape.kind === "flag") return value === "true" ? true : value === "false" ? false : value;
  return fromJson(shape, value, path);
}

function fromBody(name: OperationName, type: string, body: Buffer | undefined): object {
  if (body === undefined || body.length === 0) return {};
  const { args: shape } = operationOf(name);
  switch (type) {
    case JSON_TYPE:
      return objectOf(fromJson(shape, parseJson(body)));
    case CBOR:
      return objectOf(decodeStrictly(body));
    case OCTETS: {
      const field = RAW_BODY[name];
      if (field !== undefined) return { [field]: new Uint8Array(body) };
    }
  }
  const hint = `send ${JSON_TYPE} or ${CBOR}${RAW_BODY[name] === undefined ? "" : `, or ${RAW_BODY[name]} as ${OCTETS}`}`;
  throw withStatus(415, new ThornkeyError("USAGE", `${name} takes no body of this type`, { hint }));
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    throw new ThornkeyError("MALFORMED", "the body is not JSON");
  }
}

function objectOf(value: unknown): object {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new ThornkeyError("USAGE", "the body must be an object");
  }
  return value;
}
