import { CONFIG_SIZE, OTP_SIZE, SLOT_SIZES, type Zone } from "./memory.ts";
import type { Packet } from "./packet.ts";

/** Where Read and Write point to. */
export interface Place {
  readonly zone: Zone;
  /** In bytes. */
  readonly offset: number;
  /** Bytes from there to the end of the zone or slot. */
  readonly room: number;
}

const DATA = 2;
/** param1 b7: 32 bytes instead of 4. */
const BLOCK = 0x80;

export function isBlock(param1: number): boolean {
  return (param1 & BLOCK) !== 0;
}

/**
 * ATECC508A, "Address Encoding". Config and OTP: block << 3 | word. Data: block << 8 | slot << 3 | word.
 *
 * @returns undefined when the address lies outside its zone, or in the middle of a block where a block is wanted
 */
export function placeOf({ param1, param2 }: Packet): Place | undefined {
  const word = param2 & 7;
  if (isBlock(param1) && word !== 0) return undefined;
  const zone = param1 & 3;
  if (zone === DATA) {
    if (param2 & 0x80) return undefined;
    const slot = (param2 >> 3) & 0x0f;
    return within(slot, (param2 >> 8) * 32 + word * 4, SLOT_SIZES[slot] ?? 0);
  }
  return zone === 0 ? within("config", param2 * 4, CONFIG_SIZE) : within("otp", param2 * 4, OTP_SIZE);
}

function within(zone: Zone, offset: number, size: number): Place | undefined {
  return offset < size ? { zone, offset, room: size - offset } : undefined;
}
