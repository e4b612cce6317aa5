/** Media types, and which operations speak plain bytes. */
import type { FastifyRequest } from "fastify";
import { ThornkeyError } from "../../errors.ts";
import type { BytesShape, Fields } from "../../operations/shape.ts";
import { holdsSecret } from "../../operations/shape.ts";
import { OPERATION_NAMES, type OperationName, operationOf } from "../../operations/table.ts";
import { withStatus } from "./status.ts";

export const CBOR = "application/cbor";
export const JSON_TYPE = "application/json";
export const OCTETS = "application/octet-stream";

/** The argument that a body of plain bytes fills; the others are in the query then. */
export const RAW_BODY: { readonly [Name in OperationName]?: string } = {
  "key.import": "material",
  sign: "data",
  verify: "data",
  mac: "data",
  encrypt: "plaintext",
  decrypt: "ciphertext",
  agree: "peer",
  unwrap: "wrapped",
  "bind.confirm": "recovery",
  "bind.undo": "recovery",
  "bind.rebind": "recovery",
};

/** The part of the reply that a body of plain bytes is: the one secret there is, or the one field of bytes. */
export const RAW_REPLY: ReadonlyMap<OperationName, string> = new Map(
  OPERATION_NAMES.flatMap((name): [OperationName, string][] => {
    const fields = bytesOf(operationOf(name).reply.fields);
    const secret = fields.filter(([, shape]) => shape.secret);
    const [only] = secret.length > 0 ? secret : fields;
    return only === undefined || (secret.length === 0 && fields.length > 1) ? [] : [[name, only[0]]];
  }),
);

function bytesOf(fields: Fields): [string, BytesShape][] {
  return Object.entries(fields).flatMap(([name, field]): [string, BytesShape][] => {
    const shape = field.kind === "optional" ? field.shape : field;
    return shape.kind === "bytes" ? [[name, shape]] : [];
  });
}

export const SECRET_REPLIES: ReadonlySet<OperationName> = new Set(
  OPERATION_NAMES.filter((name) => holdsSecret(operationOf(name).reply)),
);

export type Answer = typeof CBOR | typeof JSON_TYPE | typeof OCTETS;

/**
 * What a caller wants to be answered in.
 *
 * @throws ThornkeyError `USAGE` when the operation cannot answer so
 */
export function wanted(accept: string | undefined, name: OperationName): Answer {
  const types = new Set((accept ?? "*/*").split(",").map((type) => type.split(";", 1)[0]?.trim().toLowerCase()));
  if (types.has(CBOR)) return CBOR;
  const raw = RAW_REPLY.has(name);
  if (raw && types.has(OCTETS)) return OCTETS;
  const json = types.has(JSON_TYPE) || types.has("application/*") || types.has("*/*");
  if (json && !SECRET_REPLIES.has(name)) return JSON_TYPE;
  const sentence = json
    ? "the answer is a secret, and JSON is no place for one"
    : "there is no such form of the answer";
  const hint = `ask with 'Accept: ${CBOR}'${raw ? ` or 'Accept: ${OCTETS}'` : ""}`;
  throw withStatus(406, new ThornkeyError("USAGE", sentence, { hint }));
}

/** @returns the media type of a body, without its parameters */
export function typeOf(request: FastifyRequest): string {
  return (request.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}
