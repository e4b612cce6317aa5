/** GET /openapi.json: the interface as OpenAPI 3.1 describes it, printed from the table of operations. */
import { ERROR_CODES } from "../../errors.ts";
import { type Fields, holdsSecret, type JsonSchema, jsonSchema } from "../../operations/shape.ts";
import { EVENT, OPERATION_NAMES, type Operation, type OperationName, operationOf } from "../../operations/table.ts";
import { CBOR, JSON_TYPE, OCTETS, RAW_BODY, RAW_REPLY, SECRET_REPLIES } from "./media.ts";
import { REQUEST_KEY_HEADER } from "./operations.ts";
import { HTTP_STATUS } from "./status.ts";

type Json = { readonly [name: string]: unknown };

const ERROR = {
  type: "object",
  properties: {
    code: { type: "string", enum: Object.keys(ERROR_CODES) },
    message: { type: "string" },
    hint: { type: "string", description: "what to do next" },
  },
  required: ["code", "message"],
} as const;

const BYTES: JsonSchema = { type: "string", format: "binary" };

/** @param version of Thornkey */
export function openApiDocument(version: string): Json {
  const paths: { [path: string]: { [method: string]: Json } } = {};
  const add = (path: string, method: string, description: Json) => {
    paths[path] = { ...paths[path], [method.toLowerCase()]: description };
  };
  for (const name of OPERATION_NAMES) {
    const operation = operationOf(name);
    const { method, path } = operation.http;
    add(
      path,
      method,
      name === "events.subscribe" ? streamOf("events.subscribe", operation) : describe(name, operation),
    );
  }
  add("/v1/events", "GET", streamOf("events", operationOf("events.subscribe")));
  add("/v1/call/{operation}", "POST", genericDoor());
  for (const [path, description] of Object.entries(MONITORS)) add(path, "GET", description);
  return {
    openapi: "3.1.0",
    info: {
      title: "Thornkey",
      version,
      description:
        "Keys that are made in hardware and stay there. Callers are known by the kernel: there is no login. " +
        `Bytes are base64url in JSON and byte strings in CBOR; secrets are never JSON.`,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "http://localhost", description: "the Unix socket api.sock in the run directory" }],
    paths,
    components: { schemas: { Error: ERROR }, responses: { Failure: failure() } },
  };
}

function describe(name: OperationName, operation: Operation): Json {
  const { args, reply, http, about, requires } = operation;
  const inPath = [...http.path.matchAll(/\{(\w+)\}/g)].map(([, field = ""]) => field);
  const rest = Object.entries(args.fields).filter(([field]) => !inPath.includes(field));
  const bodiless = http.method === "GET" || http.method === "DELETE";
  const parameters = [
    ...inPath.map((field) => parameter(field, "path", args.fields)),
    ...(bodiless ? rest.map(([field]) => parameter(field, "query", args.fields)) : []),
    ...(operation.changes ? [requestKeyParameter()] : []),
  ];
  return {
    operationId: name,
    summary: about,
    "x-requires": requires,
    ...(parameters.length > 0 && { parameters }),
    ...(!bodiless && rest.length > 0 && { requestBody: bodyOf(name, Object.fromEntries(rest)) }),
    responses: { "200": { description: "done", content: replyOf(name, jsonSchema(reply)) }, default: FAILURE },
  };
}

function parameter(name: string, place: "path" | "query", fields: Fields): Json {
  const field = fields[name];
  const shape = field?.kind === "optional" ? field.shape : field;
  return {
    name,
    in: place,
    required: place === "path" || field?.kind !== "optional",
    schema: shape === undefined ? {} : jsonSchema(shape),
  };
}

function requestKeyParameter(): Json {
  return {
    name: REQUEST_KEY_HEADER,
    in: "header",
    required: false,
    description: "the same again when the request is repeated: then it is done once",
    schema: { type: "string", pattern: "^[0-9a-f]{32}$" },
  };
}

function bodyOf(name: OperationName, fields: Fields): Json {
  const schema = jsonSchema({ kind: "record", fields });
  const needed = Object.values(fields).filter((field) => field.kind !== "optional");
  const needsSecret = needed.some(holdsSecret);
  return {
    required: needed.length > 0,
    content: {
      ...(!needsSecret && { [JSON_TYPE]: { schema } }),
      [CBOR]: { schema },
      ...(RAW_BODY[name] !== undefined && { [OCTETS]: { schema: BYTES } }),
    },
  };
}

function replyOf(name: OperationName, schema: JsonSchema): Json {
  return {
    ...(!SECRET_REPLIES.has(name) && { [JSON_TYPE]: { schema } }),
    [CBOR]: { schema },
    ...(RAW_REPLY.has(name) && { [OCTETS]: { schema: BYTES } }),
  };
}

function streamOf(operationId: string, { about, requires, args }: Operation): Json {
  return {
    operationId,
    summary: about,
    "x-requires": requires,
    parameters: [
      parameter("after", "query", args.fields),
      {
        ...{ name: "last-event-id", in: "header", required: false },
        schema: { type: "integer", minimum: 0 },
      },
    ],
    responses: {
      "200": {
        description: "server-sent events; the data of each is one object",
        content: { "text/event-stream": { schema: { type: "string" }, "x-data": jsonSchema(EVENT) } },
      },
      default: FAILURE,
    },
  };
}

function genericDoor(): Json {
  const any = { schema: { type: "object" } };
  return {
    operationId: "call",
    summary: "Any operation by its name; the arguments are the body.",
    parameters: [
      {
        ...{ name: "operation", in: "path", required: true },
        schema: { type: "string", enum: OPERATION_NAMES.filter((name) => name !== "events.subscribe") },
      },
      requestKeyParameter(),
    ],
    requestBody: { required: false, content: { [JSON_TYPE]: any, [CBOR]: any } },
    responses: { "200": { description: "done", content: { [JSON_TYPE]: any, [CBOR]: any } }, default: FAILURE },
  };
}

const FAILURE = { $ref: "#/components/responses/Failure" } as const;

function failure(): Json {
  const table = Object.entries(HTTP_STATUS).map(([code, status]) => `${code} ${status}`);
  return {
    description: `why not; status by code: ${table.join(", ")}`,
    content: { [JSON_TYPE]: { schema: { $ref: "#/components/schemas/Error" } } },
  };
}

function monitor(operationId: string, summary: string, type: string, failing?: string): Json {
  const content = { [type]: { schema: type === JSON_TYPE ? { type: "object" } : { type: "string" } } };
  return {
    operationId,
    summary,
    responses: {
      "200": { description: "yes", content },
      ...(failing !== undefined && { "503": { description: failing, content } }),
      default: FAILURE,
    },
  };
}

const MONITORS: { readonly [path: string]: Json } = {
  "/alive": monitor("alive", "Whether the gate runs; the vault is not asked.", JSON_TYPE),
  "/ready": monitor("ready", "Whether the vault serves.", JSON_TYPE, "it does not"),
  "/state": monitor("state", "How the vault is, for monitors.", JSON_TYPE, "the vault does not answer"),
  "/metrics": monitor("metrics", "Figures in the text format of Prometheus; for observers.", "text/plain"),
  "/openapi.json": monitor("openapi", "This document.", JSON_TYPE),
};
