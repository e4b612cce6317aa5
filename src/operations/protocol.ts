/**
 * The vault protocol: what gate and vault say to each other, over any stream. A message is its length, 4 bytes big
 * endian, and so many bytes of CBOR (RFC 8949): an array that begins with a number from the tables below. Requests are
 * answered in any order. It assumes no shared machine: no descriptors, no paths.
 *
 * A broken frame ends the connection, for nobody can tell any more where the next one begins. A well-framed message
 * that makes no sense is answered, if it has an id, and the connection goes on.
 */
import { decode, encode } from "cborg";
import { ERROR_CODES, type ErrorCode, ThornkeyError } from "../errors.ts";
import { MAXIMUM_MESSAGE } from "./shape.ts";
import type { VaultEvent } from "./table.ts";
import type { CallerFacts } from "./who.ts";

export const PROTOCOL_VERSION = 1;

/** Bytes of a frame without its length. */
export const MAXIMUM_FRAME = MAXIMUM_MESSAGE * 2;

const LENGTH_BYTES = 4;

/** First element of what the gate says. */
export const TO_VAULT = { caller: 0, request: 1, cancel: 2, gone: 3, program: 4 } as const;
/** First element of what the vault says. */
export const TO_GATE = { hello: 0, reply: 1, failure: 2, event: 3, lookUpProgram: 4 } as const;

export type ToVault =
  /** Somebody connected; `caller` is the gate's number for him. */
  | { readonly kind: "caller"; readonly caller: number; readonly facts: CallerFacts }
  | {
      readonly kind: "request";
      readonly id: number;
      readonly caller: number;
      readonly operation: string;
      readonly args: unknown;
      /** 16 random bytes; the same again when a request that changes something is repeated. */
      readonly requestKey: Uint8Array | undefined;
    }
  | { readonly kind: "cancel"; readonly id: number }
  | { readonly kind: "gone"; readonly caller: number }
  /** Answer to `lookUpProgram`: SHA-256 of the caller's executable, or nothing when it cannot be read. */
  | { readonly kind: "program"; readonly caller: number; readonly sha256: string | undefined };

export type ToGate =
  | { readonly kind: "hello"; readonly version: number; readonly device: string }
  | { readonly kind: "reply"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly error: ThornkeyError }
  | { readonly kind: "event"; readonly caller: number; readonly event: VaultEvent }
  | { readonly kind: "lookUpProgram"; readonly caller: number };

/** Strict: no indefinite lengths, no duplicate keys, no numbers beyond 2^53, no tags. */
const STRICT = {
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  strict: true,
  rejectDuplicateMapKeys: true,
} as const;

/** @throws ThornkeyError `MALFORMED` */
export function decodeStrictly(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, STRICT);
  } catch {
    throw new ThornkeyError("MALFORMED", "not strict CBOR");
  }
}

/** CBOR of a value without undefined members. */
export function encodeStrictly(value: unknown): Uint8Array {
  return encode(value, { ignoreUndefinedProperties: true });
}

/** @returns one frame, length included */
function framed(message: readonly unknown[]): Uint8Array {
  const body = encodeStrictly(message);
  if (body.length > MAXIMUM_FRAME) throw new ThornkeyError("USAGE", "a message too long for the vault");
  const frame = new Uint8Array(LENGTH_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, LENGTH_BYTES);
  return frame;
}

export function encodeToVault(message: ToVault): Uint8Array {
  switch (message.kind) {
    case "caller":
      return framed([TO_VAULT.caller, message.caller, message.facts]);
    case "request":
      return framed([
        TO_VAULT.request,
        message.id,
        message.caller,
        message.operation,
        message.args,
        message.requestKey ?? null,
      ]);
    case "cancel":
      return framed([TO_VAULT.cancel, message.id]);
    case "gone":
      return framed([TO_VAULT.gone, message.caller]);
    case "program":
      return framed([TO_VAULT.program, message.caller, message.sha256 ?? null]);
  }
}

export function encodeToGate(message: ToGate): Uint8Array {
  switch (message.kind) {
    case "hello":
      return framed([TO_GATE.hello, message.version, message.device]);
    case "reply":
      return framed([TO_GATE.reply, message.id, message.value]);
    case "failure": {
      const { code, message: sentence, hint } = message.error;
      return framed([TO_GATE.failure, message.id, code, sentence, hint ?? null]);
    }
    case "event":
      return framed([TO_GATE.event, message.caller, message.event]);
    case "lookUpProgram":
      return framed([TO_GATE.lookUpProgram, message.caller]);
  }
}

/** @throws ThornkeyError `MALFORMED` */
export function decodeToVault(frame: Uint8Array): ToVault {
  const [kind, ...rest] = messageOf(frame);
  switch (kind) {
    case TO_VAULT.caller:
      return { kind: "caller", caller: number(rest[0]), facts: callerFacts(rest[1]) };
    case TO_VAULT.request:
      return {
        kind: "request",
        id: number(rest[0]),
        caller: number(rest[1]),
        operation: text(rest[2]),
        args: rest[3],
        requestKey: rest[4] === null || rest[4] === undefined ? undefined : bytes16(rest[4]),
      };
    case TO_VAULT.cancel:
      return { kind: "cancel", id: number(rest[0]) };
    case TO_VAULT.gone:
      return { kind: "gone", caller: number(rest[0]) };
    case TO_VAULT.program:
      return { kind: "program", caller: number(rest[0]), sha256: rest[1] === null ? undefined : text(rest[1]) };
    default:
      throw malformed("a message of no known kind");
  }
}

/** @throws ThornkeyError `MALFORMED` */
export function decodeToGate(frame: Uint8Array): ToGate {
  const [kind, ...rest] = messageOf(frame);
  switch (kind) {
    case TO_GATE.hello:
      return { kind: "hello", version: number(rest[0]), device: text(rest[1]) };
    case TO_GATE.reply:
      return { kind: "reply", id: number(rest[0]), value: rest[1] };
    case TO_GATE.failure: {
      const [id, code, sentence, hint] = rest;
      const known = typeof code === "string" && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : "FAILED";
      const options = typeof hint === "string" ? { hint } : {};
      return { kind: "failure", id: number(id), error: new ThornkeyError(known, text(sentence), options) };
    }
    case TO_GATE.event:
      return { kind: "event", caller: number(rest[0]), event: rest[1] as VaultEvent };
    case TO_GATE.lookUpProgram:
      return { kind: "lookUpProgram", caller: number(rest[0]) };
    default:
      throw malformed("a message of no known kind");
  }
}

function messageOf(frame: Uint8Array): readonly unknown[] {
  const message = decodeStrictly(frame);
  if (!Array.isArray(message) || message.length > 8) throw malformed("not a message");
  return message;
}

function callerFacts(value: unknown): CallerFacts {
  const { uid, gid, groups, pid, front, program, unit } = (value ?? {}) as Record<string, unknown>;
  if (!Array.isArray(groups) || groups.length > 65_536) throw malformed("a caller without groups");
  return {
    uid: number(uid),
    gid: number(gid),
    groups: groups.map(number),
    pid: number(pid),
    front: text(front),
    ...(program !== undefined && { program: text(program) }),
    ...(unit !== undefined && { unit: text(unit) }),
  };
}

function number(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw malformed("not a number");
  return value;
}

function text(value: unknown): string {
  if (typeof value !== "string" || value.length > 4096) throw malformed("not a text");
  return value;
}

function bytes16(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== 16) throw malformed("not a request key");
  return value;
}

function malformed(what: string): ThornkeyError {
  return new ThornkeyError("MALFORMED", `the vault protocol: ${what}`);
}

/** Cuts a stream of bytes into frames. */
export interface FrameReader {
  /**
   * @param chunk what has arrived
   * @param take is called for each whole frame, without its length; the bytes are valid only during the call
   * @throws ThornkeyError `MALFORMED` for a length nobody may send; nothing can be read after that
   */
  push(chunk: Uint8Array, take: (frame: Uint8Array) => void): void;
}

export function createFrameReader(maximum = MAXIMUM_FRAME): FrameReader {
  /** What has arrived of the frame that is not whole yet, its length included. */
  let pending: Uint8Array = new Uint8Array(0);
  return {
    push(chunk, take) {
      let bytes = chunk;
      if (pending.length > 0) {
        bytes = new Uint8Array(pending.length + chunk.length);
        bytes.set(pending);
        bytes.set(chunk, pending.length);
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      let position = 0;
      while (bytes.length - position >= LENGTH_BYTES) {
        const length = view.getUint32(position);
        if (length > maximum) throw malformed(`a frame of ${length} bytes; ${maximum} are allowed`);
        const end = position + LENGTH_BYTES + length;
        if (end > bytes.length) break;
        take(bytes.subarray(position + LENGTH_BYTES, end));
        position = end;
      }
      pending.fill(0);
      // Not slice: of a Buffer that would be a view, and whoever gave us the chunk zeroes it.
      pending = new Uint8Array(bytes.subarray(position));
    },
  };
}
