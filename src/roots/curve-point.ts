import { createHash, ECDH } from "node:crypto";
import { Writer } from "../bytes/writer.ts";

/**
 * A point of P-256 made from a label and a salt, of which nobody knows the discrete logarithm: ECDH with it is something
 * only the holder of the private key can compute. (With a point made from a known scalar, everybody who has the public
 * key could.) Try-and-increment: the x coordinate is a digest, counted up until it lies on the curve; label and salt are
 * public, so its time tells nothing.
 *
 * @param label names what is derived
 * @param salt any length
 * @returns 64 bytes, X and Y
 */
export function curvePoint(label: string, salt: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode(label);
  for (let counter = 0; counter <= 0xffff; counter++) {
    const x = createHash("sha256")
      .update("thornkey-1 derive point")
      .update(new Writer(6).u16be(counter).u32be(name.length).done())
      .update(name)
      .update(salt)
      .digest();
    const point = decompress(x);
    if (point) return point;
  }
  throw new Error("no point found"); // 2^-65536
}

/** @returns undefined when no point has this x coordinate */
function decompress(x: Uint8Array): Uint8Array | undefined {
  try {
    const point = ECDH.convertKey(
      Buffer.concat([Uint8Array.of(2), x]),
      "prime256v1",
      undefined,
      undefined,
      "uncompressed",
    );
    return typeof point === "string" ? undefined : new Uint8Array(point.subarray(1));
  } catch {
    return undefined;
  }
}
