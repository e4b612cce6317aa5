/** Against frames that p11-kit itself wrote, and against bytes that nobody meant. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex } from "../../../src/bytes/bytes.ts";
import { CALLS, type CallName, callOf } from "../../../src/gate/pkcs11/calls.ts";
import {
  type Dialect,
  Malformed,
  readReply,
  readRequest,
  writeFailure,
  writeReply,
  writeRequest,
} from "../../../src/gate/pkcs11/codec.ts";
import { createFrameReader, frameOf } from "../../../src/gate/pkcs11/frames.ts";
import { RECORDED } from "./recorded.ts";

const dialectOf = (version: number): Dialect => ({ version, width: undefined });
const call = (name: CallName) => {
  const found = callOf(CALLS[name][0]);
  if (found === undefined) throw new Error(name);
  return found;
};

function framesOf(...chunks: Uint8Array[]): { code: number; body: Uint8Array }[] {
  const reader = createFrameReader();
  const frames: { code: number; body: Uint8Array }[] = [];
  for (const chunk of chunks) reader.push(chunk, (code, body) => frames.push({ code, body }));
  return frames;
}

function bodyOf(frame: string): Uint8Array {
  const [only] = framesOf(fromHex(frame));
  if (only === undefined) throw new Error("not one frame");
  return only.body;
}

describe("what p11-kit wrote", () => {
  it.each(RECORDED)("is read, and written again: $what", (recorded) => {
    const dialect = dialectOf(recorded.version);
    const body = bodyOf(recorded.request);
    const { call: named, args } = readRequest(body, dialect);
    expect(named.name).toBe(recorded.call);
    expect(args).toEqual(recorded.args);

    const reply = bodyOf(recorded.reply);
    const { results } = recorded;
    const code = framesOf(fromHex(recorded.reply))[0]?.code ?? 0;
    const ours = typeof results === "number" ? writeFailure(results, dialect) : writeReply(named, results, dialect);
    expect(Buffer.from(frameOf(code, ours)).toString("hex")).toBe(recorded.reply.replaceAll(" ", ""));
    expect(readReply(named, reply, dialect)).toEqual(results);
  });

  it("comes in any pieces", () => {
    const stream = fromHex(RECORDED.map(({ request }) => request).join(""));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 40 }), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const chunks = places.slice(1).map((place, index) => stream.subarray(places[index], place));
        expect(framesOf(...chunks).map(({ body }) => Buffer.from(body).toString("hex"))).toEqual(
          RECORDED.map(({ request }) => Buffer.from(bodyOf(request)).toString("hex")),
        );
      }),
      { numRuns: 200 },
    );
  });
});

describe("a client of another width", () => {
  it("shows it with the first number in a template, and is answered so", () => {
    const dialect = dialectOf(1);
    readRequest(
      fromHex("0000001a 00000003 756141 0000000000000001 00000001 00000000 01 00000004 0000000000000003"),
      dialect,
    );
    expect(dialect.width).toBe(4);
    const reply = writeReply(call("GetAttributeValue"), [[{ type: 0x100, value: 3 }], 0], dialect);
    expect(Buffer.from(reply).toString("hex")).toBe(
      `00000018000000036141750000000100000100010000000400000000000000030000000000000000`,
    );
  });
});

describe("rooms for a template's attributes", () => {
  const rooms = (inner: string) =>
    fromHex(`00000018 00000004 75756641 0000000000000001 0000000000000002 00000002 40000211 00000018 ${inner}`);
  const wanted = [
    { type: 0x40000211, room: 24 },
    { type: 0, room: 8 },
  ];

  it.each([
    ["follow from p11-kit 0.25.6 on", 2, "00000001 00000103 00000001 00000000 00000008"],
    ["follow in p11-kit 0.25.4", 1, "00000001 00000103 00000001 00000000 00000008"],
    ["do not follow before", 1, "00000000 00000008"],
    ["do not follow in p11-kit 0.24.1", 0, "00000000 00000008"],
  ])("%s", (_, version, inner) => {
    expect(readRequest(rooms(inner), dialectOf(version)).args[2]).toEqual(wanted);
  });
});

describe("hostile bytes", () => {
  const versions = fc.constantFrom(0, 1, 2);

  it("are refused, and nothing else happens", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), versions, (body, version) => {
        onlyMalformed(() => readRequest(body, dialectOf(version)));
      }),
      { numRuns: 2000 },
    );
  });

  it("behind a right beginning are refused, or read as something that can be written", () => {
    const calls = Object.keys(CALLS) as CallName[];
    fc.assert(
      fc.property(fc.constantFrom(...calls), fc.uint8Array({ maxLength: 120 }), versions, (name, rest, version) => {
        const { number, request } = call(name);
        const head = Buffer.alloc(8 + request.length);
        head.writeUInt32BE(number, 0);
        head.writeUInt32BE(request.length, 4);
        head.write(request, 8);
        onlyMalformed(() => readRequest(new Uint8Array(Buffer.concat([head, rest])), dialectOf(version)));
      }),
      { numRuns: 5000 },
    );
  });

  it("in recorded messages are refused, or read", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...RECORDED),
        fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(300),
        ({ request, version }, changes, length) => {
          const body = bodyOf(request).slice(0, length);
          for (const [place, value] of changes) if (place < body.length) body[place] = value;
          onlyMalformed(() => readRequest(body, dialectOf(version)));
        },
      ),
      { numRuns: 5000 },
    );
  });

  it("that nest templates without end are refused", () => {
    const level = "00000001 40000211 01 00000018";
    const nested = (depth: number) =>
      fromHex(`0000001a 00000003 756141 0000000000000001 ${level.repeat(depth)} 00000000`);
    expect(() => readRequest(nested(8), dialectOf(2))).not.toThrow();
    expect(() => readRequest(nested(9), dialectOf(2))).toThrow(Malformed);
    expect(() => readRequest(nested(100_000), dialectOf(2))).toThrow(Malformed);
  });

  it("that announce what nobody can send end the stream, and reserve nothing", () => {
    expect(() => framesOf(fromHex("00000001 00001001 00000000"))).toThrow(Malformed);
    expect(() => framesOf(fromHex("00000001 00000000 01000001"))).toThrow(Malformed);
    expect(() => framesOf(fromHex("00000000 00000000 00000008"))).toThrow(Malformed);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 100 }, () => createFrameReader());
    for (const reader of readers) reader.push(fromHex("00000001 00000000 01000000 01"), () => {});
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });
});

it("what is written is read again", () => {
  const ulong = fc.oneof(fc.nat(), fc.constant(-1), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }));
  const attribute = fc.oneof(
    fc.record({ type: fc.constantFrom(0x1, 0x2, 0x103), value: fc.oneof(fc.boolean(), fc.constant(null)) }),
    fc.record({ type: fc.constantFrom(0x0, 0x100, 0x161), value: ulong }),
    fc.record({ type: fc.constantFrom(0x3, 0x102, 0x180, 0x99999), value: fc.uint8Array({ maxLength: 40 }) }),
    fc.record({ type: fc.constant(0x40000600), value: fc.array(ulong, { minLength: 1, maxLength: 5 }) }),
  );
  const template = fc.array(
    fc.oneof(
      attribute,
      fc.record({ type: fc.constant(0x40000211), value: fc.array(attribute, { minLength: 1, maxLength: 3 }) }),
    ),
    { maxLength: 6 },
  );
  const mechanism = fc.oneof(
    fc.record({ type: fc.constantFrom(0x1041, 0x251), fields: fc.constant(null) }),
    fc.record({ type: fc.constant(0xd), fields: fc.tuple(ulong, ulong, ulong) }),
    fc.record({ type: fc.constant(0x9), fields: fc.tuple(ulong, ulong, ulong, fc.uint8Array({ maxLength: 30 })) }),
  );
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 2), ulong, mechanism, template, template, (version, session, how, a, b) => {
      const dialect: Dialect = { version, width: 8 };
      const args = [session, how, a, b];
      expect(readRequest(writeRequest(call("GenerateKeyPair"), args, dialect), dialect).args).toEqual(args);
    }),
    { numRuns: 1000 },
  );
});

function onlyMalformed(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(Malformed);
  }
}

it("writes and reads CKA_DESTROYABLE as p11-kit does, which does not know it as a flag", () => {
  const dialect = { version: 0, width: 8 } as const;
  const call = callOf(CALLS.GetAttributeValue[0]);
  if (call === undefined) throw new Error("no such call");
  const reply = writeReply(call, [[{ type: 0x172, value: true }], 0], dialect);
  // Type, valid, length, then an array: its length and its byte (rpc-message.c, p11_rpc_buffer_add_attribute).
  expect(Buffer.from(reply).toString("hex")).toContain(`${"00000172"}${"01"}${"00000001"}${"00000001"}${"01"}`);
  expect(readReply(call, reply, dialect)).toEqual([[{ type: 0x172, value: true }], 0]);
});
