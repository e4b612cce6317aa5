import { p256 } from "@noble/curves/nist.js";
import fc from "fast-check";
import { expect, it } from "vitest";
import { toHex } from "../../src/bytes/bytes.ts";
import { curvePoint } from "../../src/roots/curve-point.ts";

it("a label and a salt give a point of the curve, each pair another, always the same", () => {
  fc.assert(
    fc.property(fc.string(), fc.uint8Array(), fc.string(), fc.uint8Array(), (label, salt, otherLabel, otherSalt) => {
      const point = toHex(curvePoint(label, salt));
      expect(() => p256.Point.fromHex(`04${point}`).assertValidity()).not.toThrow();
      expect(toHex(curvePoint(label, salt))).toBe(point);
      const same = label === otherLabel && Buffer.from(salt).equals(otherSalt);
      expect(toHex(curvePoint(otherLabel, otherSalt)) === point).toBe(same);
      expect(toHex(curvePoint(label, Uint8Array.of(...salt, 0)))).not.toBe(point);
    }),
  );
});

it("the point of a label and a salt never changes: what was sealed with it must open for ever", () => {
  expect(toHex(curvePoint("disk", Uint8Array.of(1, 2, 3)))).toBe(
    "16048cf492a89bc0489ecf02637bba89f035af03fd90a9b74bb4074a1cbd120d4ddb00090c7788617a511a89e255113ab29b0f24eab4188cf94749620979dce4",
  );
});
