/** Revision codes of boards (Raspberry Pi documentation, "Raspberry Pi revision codes"). */

/** Bits 15:12 of a new-style code. */
const PROCESSORS = ["BCM2835", "BCM2836", "BCM2837", "BCM2711", "BCM2712"] as const;
const NEW_STYLE = 1 << 23;

/** @returns the processor; undefined for an old-style code, or a newer one than this table */
export function processorOf(revision: number): string | undefined {
  return (revision & NEW_STYLE) === 0 ? undefined : PROCESSORS[(revision >>> 12) & 0xf];
}
