/** One operation asked of the gate: arguments into CBOR, the reply out of it, secrets as `Secret` both ways. */
import { toHex } from "../bytes/bytes.ts";
import { Secret } from "../bytes/secret.ts";
import { ERROR_CODES, type ErrorCode, ThornkeyError } from "../errors.ts";
import { decodeStrictly, encodeStrictly } from "../operations/protocol.ts";
import { check } from "../operations/shape.ts";
import { type ArgsOf, HUMAN_DEADLINE, type OperationName, operationOf, type ReplyOf } from "../operations/table.ts";
import type { Transport } from "./transport.ts";

/** What may be given for arguments: wherever bytes are wanted, a `Secret` will do. It is not destroyed. */
export type Given<T> = T extends Uint8Array
  ? Uint8Array | Secret
  : T extends readonly (infer Item)[]
    ? readonly Given<Item>[]
    : T extends object
      ? { readonly [Name in keyof T]: Given<T[Name]> }
      : T;

/** The secret parts of replies. They are handed out as `Secret`. */
export const SECRET_REPLIES = {
  agree: "secret",
  decrypt: "plaintext",
  random: "random",
  "storage.open": "fileKey",
  "bind.seal": "recovery",
  "wallet.create": "mnemonic",
  "wallet.shares.member": "mnemonic",
} as const satisfies { readonly [Name in OperationName]?: string };

type Concealed<Reply, Field extends PropertyKey> = {
  readonly [Name in keyof Reply]: Name extends Field
    ? Exclude<Reply[Name], Uint8Array> | (Uint8Array extends Exclude<Reply[Name], undefined> ? Secret : never)
    : Reply[Name];
};

/** What an operation answers here. */
export type Answered<Name extends OperationName> = Name extends keyof typeof SECRET_REPLIES
  ? Concealed<ReplyOf<Name>, (typeof SECRET_REPLIES)[Name]>
  : ReplyOf<Name>;

export interface CallOptions {
  /** Gives the request up; the vault is told. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks for an operation.
 *
 * @throws ThornkeyError what the vault says; `VAULT_UNAVAILABLE`, `TIMED_OUT`, `ABORTED`
 */
export type Call = <Name extends OperationName>(
  operation: Name,
  args: Given<ArgsOf<Name>>,
  options?: CallOptions,
) => Promise<Answered<Name>>;

const CBOR = "application/cbor";
/** The gate's deadline comes first, as it knows better what happened. */
const GRACE_MILLISECONDS = 5000;

export function createCall(transport: Transport): Call {
  return async (name, args, { signal } = {}) => {
    const operation = operationOf(name);
    const plain = revealed(args);
    check(operation.args, plain);
    const body = encodeStrictly(plain);
    const headers = {
      accept: CBOR,
      "content-type": CBOR,
      // The same in every attempt, so that what was done already is not done twice.
      ...(operation.changes && { "thornkey-request": toHex(crypto.getRandomValues(new Uint8Array(16))) }),
    };
    const longest = operation.requires === "use" ? HUMAN_DEADLINE : 0;
    const deadline = Math.max(operation.deadline, longest) + GRACE_MILLISECONDS;
    try {
      const received = await transport.ask({
        ...{ method: "POST", path: `/v1/call/${name}`, headers, body, signal, deadline },
      });
      const value = decodeStrictly(received.body);
      received.body.fill(0);
      if (received.status !== 200) throw errorFrom(value);
      return concealed(name, value) as Answered<typeof name>;
    } finally {
      body.fill(0);
    }
  };
}

/** The values with bytes in place of secrets; the bytes are the secrets' own. */
function revealed(value: unknown): unknown {
  if (value instanceof Secret) return value.use((bytes) => bytes);
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(revealed);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([name, inner]) => [name, revealed(inner)]),
  );
}

function concealed(name: OperationName, value: unknown): unknown {
  const reply = check(operationOf(name).reply, value, "the answer");
  const field = (SECRET_REPLIES as { readonly [name: string]: string })[name];
  const bytes = field === undefined ? undefined : reply[field];
  return field !== undefined && bytes instanceof Uint8Array ? { ...reply, [field]: new Secret(bytes) } : reply;
}

/** @param value `{code, message, hint}`, as the gate tells failures */
export function errorFrom(value: unknown): ThornkeyError {
  const { code, message, hint } = (value ?? {}) as Record<string, unknown>;
  const known = typeof code === "string" && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "FAILED";
  const sentence = typeof message === "string" ? message : "the gate failed";
  return new ThornkeyError(known, sentence, typeof hint === "string" ? { hint } : {});
}
