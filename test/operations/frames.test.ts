/** Frames of the vault's protocol, however they arrive. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFrameReader, decodeToGate, encodeToGate } from "../../src/operations/protocol.ts";

describe("a frame reader", () => {
  it("gives every frame whole, in whatever pieces it comes, and though each piece is zeroed afterwards", () => {
    const value = fc.array(fc.string({ maxLength: 50 }), { maxLength: 20 });
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 300 })),
        (values, sizes) => {
          const stream = Buffer.concat(values.map((one, id) => encodeToGate({ kind: "reply", id, value: one })));
          const reader = createFrameReader();
          const read: unknown[] = [];
          for (let at = 0, piece = 0; at < stream.length; piece++) {
            const size = sizes[piece % Math.max(1, sizes.length)] ?? stream.length;
            // As a socket gives them: each a Buffer of its own.
            const chunk = Buffer.from(stream.subarray(at, at + size));
            at += size;
            reader.push(chunk, (frame) => {
              const message = decodeToGate(frame);
              if (message.kind === "reply") read.push(message.value);
            });
            chunk.fill(0);
          }
          expect(read).toEqual(values);
        },
      ),
      { numRuns: 300 },
    );
  });
});
