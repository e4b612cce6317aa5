/** What arrives at the vault's own socket and should not: it is answered with an error, or the connection ends. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { encode } from "cborg";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createFrameReader,
  decodeToGate,
  encodeToVault,
  MAXIMUM_FRAME,
  type ToGate,
} from "../../src/operations/protocol.ts";
import type { Fields, Shape } from "../../src/operations/shape.ts";
import { OPERATION_NAMES, type OperationName, operationOf } from "../../src/operations/table.ts";
import { bytesOf, type LabVault, openLab, type Person } from "./lab.ts";

const lab = openLab();
let vault: LabVault;
let user: Person;
afterAll(() => lab.close());

beforeAll(async () => {
  vault = await lab.vault();
  expect(vault.said, vault.stderr()).toBe("ready");
  user = vault.person({ uid: 1000 });
  await user.ask("key.create", { name: "still", type: "p256" });
});

/** The vault runs, and signs. */
async function mustBeSound(): Promise<void> {
  expect(vault.alive(), vault.stderr()).toBe(true);
  expect(await user.codeOf("sign", { key: "still", data: bytesOf("still here") })).toBe("done");
}

interface Stranger {
  write(bytes: Uint8Array): void;
  /** Waits for a message that fits, or the end of the connection, which is `undefined`. */
  until(fits: (message: ToGate) => boolean): Promise<ToGate | undefined>;
  end(): void;
}

async function stranger(): Promise<Stranger> {
  const socket: Socket = connect(vault.socket);
  await once(socket, "connect");
  const reader = createFrameReader();
  const messages: ToGate[] = [];
  let closed = false;
  let wake = () => {};
  socket.on("data", (chunk) => {
    reader.push(new Uint8Array(chunk), (frame) => messages.push(decodeToGate(frame)));
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    closed = true;
    wake();
  });
  return {
    write: (bytes) => void socket.write(bytes),
    async until(fits) {
      for (;;) {
        const found = messages.findIndex(fits);
        if (found >= 0) return messages.splice(found, 1)[0];
        if (closed) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    end: () => socket.destroy(),
  };
}

function framed(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  return frame;
}

const facts = { uid: 1002, gid: 1002, groups: [], pid: 5, front: "http" };
const request = (id: number, operation: string, args: unknown, caller = 1) =>
  encodeToVault({ kind: "request", id, caller, operation, args, requestKey: undefined });

/** Asks after the bad bytes, on the same connection: an answer, or the end. */
async function answerOrEnd(bytes: Uint8Array): Promise<void> {
  const peer = await stranger();
  peer.write(bytes);
  peer.write(encodeToVault({ kind: "caller", caller: 4_000_000, facts }));
  peer.write(request(4_000_001, "status", {}, 4_000_000));
  await peer.until((message) => "id" in message && message.id === 4_000_001);
  peer.end();
}

const cbor = fc
  .letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.string(),
      fc.uint8Array({ maxLength: 40 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.array(tie("value"), { maxLength: 9 }),
      fc.dictionary(fc.string(), tie("value"), { maxKeys: 5 }),
    ),
  }))
  .value.map((value) => value as unknown);

describe("the vault's socket", () => {
  it("survives bytes that are no frames", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        const peer = await stranger();
        peer.write(bytes);
        peer.end();
      }),
      { numRuns: 200 },
    );
    await mustBeSound();
  });

  it("survives frames of anything", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), (bytes) => answerOrEnd(framed(bytes))),
      {
        numRuns: 150,
      },
    );
    await mustBeSound();
  });

  it("survives messages of anything", async () => {
    const message = fc.tuple(fc.integer({ min: -1, max: 6 }), fc.array(cbor, { maxLength: 7 }));
    await fc.assert(
      fc.asyncProperty(message, ([kind, rest]) => answerOrEnd(framed(encode([kind, ...rest])))),
      { numRuns: 200 },
    );
    await mustBeSound();
  });

  it.each([MAXIMUM_FRAME + 1, 2 ** 31, 2 ** 32 - 1])("ends a connection that announces %i bytes", async (length) => {
    const peer = await stranger();
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setUint32(0, length);
    peer.write(bytes);
    expect(await peer.until((message) => message.kind !== "hello")).toBeUndefined();
    await mustBeSound();
  });

  it("answers nobody it was not told of, and no operation it does not know", async () => {
    const peer = await stranger();
    peer.write(request(1, "status", {}, 77));
    expect(await peer.until((message) => message.kind === "failure")).toMatchObject({
      error: { code: "NOT_PERMITTED" },
    });
    peer.write(encodeToVault({ kind: "caller", caller: 1, facts }));
    for (const name of ["", "toString", "__proto__", "constructor", "sign ", "key.steal"]) {
      peer.write(request(2, name, {}));
      expect(await peer.until((message) => message.kind === "failure")).toMatchObject({ error: { code: "USAGE" } });
    }
    peer.end();
    await mustBeSound();
  });
});

/** Values of a shape, mostly: names are those of keys that are there and are not. */
function valuesOf(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case "bytes":
      return fc.uint8Array({ minLength: shape.minimum, maxLength: Math.min(shape.maximum, shape.minimum + 100) });
    case "text":
      return fc.oneof(
        fc.constantFrom("still", "~1000/still", "none", "a/b", "uid:1000", "any", "0".repeat(32)),
        fc.string({ maxLength: Math.min(shape.maximum, 60) }),
      );
    case "integer":
      return fc.integer({ min: Math.max(shape.minimum, -1e15), max: Math.min(shape.maximum, 1e15) });
    case "flag":
      return fc.boolean();
    case "one of":
      // Large RSA keys would take the test's time, and nothing else.
      return fc.constantFrom(...shape.names.filter((name) => !name.startsWith("rsa")), shape.names[0]);
    case "list":
      return fc.array(valuesOf(shape.item), { maxLength: Math.min(shape.maximum, 4) });
    case "record":
      return recordsOf(shape.fields);
  }
}

function recordsOf(fields: Fields): fc.Arbitrary<unknown> {
  const entries = Object.entries(fields);
  const model = Object.fromEntries(
    entries.map(([name, field]) => [name, valuesOf(field.kind === "optional" ? field.shape : (field as Shape))]),
  );
  const required = entries.filter(([, field]) => field.kind !== "optional").map(([name]) => name);
  return fc.record(model, { requiredKeys: required });
}

/** The same with one field of another type, missing, or too many. */
function wrongArgs(fields: Fields): fc.Arbitrary<unknown> {
  const names = Object.keys(fields);
  const spoil = fc.tuple(recordsOf(fields), fc.constantFrom(...names, "unknown"), cbor);
  return fc.oneof(
    cbor,
    spoil.map(([args, name, value]) => ({ ...(args as object), [name]: value })),
  );
}

/** These end the session, or wait for a person: the others' tests ask for them. */
const LAST: readonly OperationName[] = ["destroy"];
const PER_OPERATION = 40;

describe.each(OPERATION_NAMES.filter((name) => !LAST.includes(name)))("%s", (name) => {
  it("answers whatever its arguments are, and fails never inside", async () => {
    const { fields } = operationOf(name).args;
    const peer = await stranger();
    peer.write(encodeToVault({ kind: "caller", caller: 1, facts }));
    let id = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(recordsOf(fields), wrongArgs(fields)), async (args) => {
        const asked = ++id;
        peer.write(request(asked, name, args));
        const answer = await peer.until((message) => "id" in message && message.id === asked);
        expect(answer).toBeDefined();
        if (answer?.kind === "failure") expect(answer.error.message).not.toMatch(/failed inside/);
      }),
      { numRuns: PER_OPERATION },
    );
    peer.end();
    await mustBeSound();
  });
});
