/**
 * One property message to the firmware and back, with every word of the answer looked at. Numbers, sizes and capacities
 * are those of the library `rpifwcrypto` of raspberrypi/utils, which keeps more room in some messages than it says.
 */
import { toHex } from "../../bytes/bytes.ts";
import { Reader } from "../../bytes/reader.ts";
import { Writer } from "../../bytes/writer.ts";
import { ThornkeyError } from "../../errors.ts";

/** The node that carries messages. */
export interface Mailbox {
  /**
   * The ioctl: the message goes to the firmware, and the answer comes back over it.
   *
   * @returns 0, or the error number of Linux
   */
  ioctl(message: Uint8Array): number;
}

/**
 * How an answer looks:
 *
 * - `number`: a word that may have any value
 * - `state`: a word; bit 31 of it says that there was an error
 * - `done`: one or two words; bit 31 of the first says that there was an error
 * - `data`: status, length, data
 */
type Form = "number" | "state" | "done" | "data";

interface Operation {
  readonly tag: number;
  readonly form: Form;
  /** Bytes that the message says there are for the value. */
  readonly capacity: number;
  /** Bytes that there are in truth. */
  readonly room: number;
  /** Bytes of a `number`, or most bytes of `data`. */
  readonly most: number;
}

const state = (tag: number) => ({ tag, form: "state", capacity: 4, room: 16, most: 4 }) as const;
const number = (tag: number, most: number) => ({ tag, form: "number", capacity: most, room: most, most }) as const;

export const OPERATIONS = {
  "firmware revision": number(0x0000_0001, 4),
  "board revision": number(0x0001_0002, 4),
  "board serial": number(0x0001_0004, 8),
  "last error": { tag: 0x0003_008e, form: "number", capacity: 4, room: 16, most: 4 },
  "number of keys": state(0x0003_008f),
  "key status": state(0x0003_0090),
  "set key status": { tag: 0x0003_8090, form: "done", capacity: 8, room: 16, most: 8 },
  sign: { tag: 0x0003_0091, form: "data", capacity: 128, room: 136, most: 120 },
  hmac: { tag: 0x0003_0092, form: "data", capacity: 2060, room: 2060, most: 32 },
  "public key": { tag: 0x0003_0093, form: "data", capacity: 520, room: 520, most: 512 },
  "generate key": { tag: 0x0003_0095, form: "done", capacity: 8, room: 8, most: 8 },
  usage: state(0x0003_009c),
  "set usage": { tag: 0x0003_809c, form: "done", capacity: 8, room: 16, most: 8 },
} as const satisfies Readonly<Record<string, Operation>>;

export type OperationName = keyof typeof OPERATIONS;

/** What came of a message. */
export type Outcome =
  /** The value of a `number` or `state`, the data of `data`, nothing of `done`. */
  | { readonly kind: "answer"; readonly value: Uint8Array }
  /** The firmware said no; `error` is what it gave as its last one (table: errors.ts), 1 when it gave none. */
  | { readonly kind: "failed"; readonly error: number }
  /** The ioctl did. */
  | { readonly kind: "refused"; readonly errno: number };

const SUCCESS = 0x8000_0000;
const TOP = 0x8000_0000;
const HEAD = 20;
const END = 4;
const UNKNOWN = 1;

/**
 * Asks one thing. A failure inside the answer is followed by the question for the last error, which is the firmware's,
 * not ours: another program may have made one in between.
 *
 * @param value the request, at most as long as the capacity
 * @throws ThornkeyError `ROOT_UNAVAILABLE` when the answer is not what an answer must be
 */
export function transact(mailbox: Mailbox, name: OperationName, value: Uint8Array): Outcome {
  const operation: Operation = OPERATIONS[name];
  const message = messageOf(operation, value);
  try {
    const errno = mailbox.ioctl(message);
    if (errno !== 0) return { kind: "refused", errno };
    const answer = answerIn(name, operation, message);
    return answer === undefined ? { kind: "failed", error: lastError(mailbox) } : { kind: "answer", value: answer };
  } finally {
    message.fill(0); // what an HMAC gives is a secret
  }
}

function lastError(mailbox: Mailbox): number {
  const outcome = transact(mailbox, "last error", new Uint8Array());
  if (outcome.kind !== "answer") return UNKNOWN;
  return new Reader(outcome.value).u32le() || UNKNOWN; // "success" is none
}

function messageOf({ tag, capacity, room }: Operation, value: Uint8Array): Uint8Array {
  if (value.length > capacity) throw new RangeError(`${value.length} bytes for a value of at most ${capacity}`);
  const size = HEAD + room + END;
  return new Writer(size)
    .u32le(size)
    .u32le(0)
    .u32le(tag)
    .u32le(capacity)
    .u32le(0)
    .put(value)
    .zeros(room - value.length + END)
    .done();
}

/** @returns a copy of what it says; undefined when it says that there was an error */
function answerIn(name: OperationName, operation: Operation, message: Uint8Array): Uint8Array | undefined {
  const nonsense = (what: string) =>
    new ThornkeyError("ROOT_UNAVAILABLE", `the firmware's answer to '${name}' makes no sense: ${what}`);
  const reader = new Reader(message);
  const [size, code, tag, capacity, request] = [0, 1, 2, 3, 4].map(() => reader.u32le());
  if (size !== message.length) throw nonsense(`its size is ${size}`);
  if (code !== SUCCESS) throw nonsense(`its code is ${hex(code)}`);
  if (tag !== operation.tag || capacity !== operation.capacity) {
    throw nonsense(`it is of tag ${hex(tag)} with ${capacity} bytes`);
  }
  if (request === undefined || request < TOP) throw nonsense("the tag is not answered");
  const length = request - TOP;
  if (length > operation.capacity || length < 4) throw nonsense(`it is ${length} bytes long`);
  const value = reader.take(length);
  return READ[operation.form](new Reader(value), operation, nonsense);
}

type ReadForm = (value: Reader, operation: Operation, nonsense: (what: string) => Error) => Uint8Array | undefined;

const READ: Readonly<Record<Form, ReadForm>> = {
  number: (value, { most }, nonsense) => {
    if (value.remaining !== most) throw nonsense(`it has ${value.remaining} bytes instead of ${most}`);
    return value.rest().slice();
  },
  state: (value, { most }, nonsense) => {
    if (value.remaining !== most) throw nonsense(`it has ${value.remaining} bytes instead of ${most}`);
    const word = value.take(4);
    return new Reader(word).u32le() >= TOP ? undefined : word.slice();
  },
  done: (value, { most }, nonsense) => {
    if (value.remaining !== 4 && value.remaining !== most) throw nonsense(`it has ${value.remaining} bytes`);
    return value.u32le() >= TOP ? undefined : new Uint8Array();
  },
  data: (value, { most }, nonsense) => {
    const status = value.u32le();
    if (status >= TOP) return undefined;
    if (status !== 0) throw nonsense(`its status is ${hex(status)}`);
    if (value.remaining < 4) throw nonsense("it has no length");
    const length = value.u32le();
    if (length > most || length > value.remaining) throw nonsense(`${length} bytes are announced`);
    return value.take(length).slice();
  },
};

function hex(word: number | undefined): string {
  return toHex(new Writer(4).u32be(word ?? 0).done());
}
