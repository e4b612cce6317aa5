/** Where ECDH and KDF can deliver what they computed. */
export type Destination = "output" | "encrypted output" | "TempKey" | "slot";

/**
 * What the output protection bits of the 608's ChipOptions leave open.
 *
 * @param level 0 to 3
 */
export function allows(level: number, destination: Destination): boolean {
  return STRICTNESS.indexOf(destination) >= level;
}

const STRICTNESS: readonly Destination[] = ["output", "encrypted output", "TempKey", "slot"];
