import type { CommandName } from "./commands/command.ts";
import { CONFIG } from "./config.ts";
import type { Memory } from "./memory.ts";

/** none: commands take no time and the watchdog does not run. */
export type Timing = "none" | "typical" | "maximum";

/** Bits on a 100 kHz bus. */
const BIT_MS = 0.01;

/** From the wake pulse to the first traffic. */
export const WAKE_DELAY_MS = 1.5;

/** What is on the bus: 9 bits a byte, the address included, and 2 for START and STOP. */
export function busTime(bytesAfterAddress: number): number {
  return (2 + 9 * (1 + bytesAfterAddress)) * BIT_MS;
}

/** An address that nobody acknowledges, with START and STOP. */
export const NACK_TIME_MS = busTime(0);

/** From wake until the chip falls asleep by itself. ChipMode bit 2 makes it long. */
export function watchdogTime(memory: Memory, timing: Exclude<Timing, "none">): number {
  if ((memory.config[CONFIG.CHIP_MODE] ?? 0) & 0x04) return 13_000;
  return timing === "typical" ? 1300 : 700;
}

/** @returns ms from the end of the command until the answer can be read */
export function executionTime(memory: Memory, timing: Exclude<Timing, "none">, command: CommandName): number {
  const times = EXECUTION[command];
  if (memory.model === "508a") return times[timing] ?? 0;
  const [m0, m1, m2] =
    typeof times[608] === "number" ? [times[608], times[608], times[608]] : (times[608] ?? [0, 0, 0]);
  const divider = (memory.config[CONFIG.CHIP_MODE] ?? 0) & 0xf8;
  if (divider === 0x28) return m1;
  return divider === 0x68 ? m2 : m0;
}

/**
 * Milliseconds. Of the 608 only maxima are known, and they serve as typical times as well; three numbers are
 * for the clock dividers M0, M1 and M2.
 */
const EXECUTION: Record<
  CommandName,
  { typical?: number; maximum?: number; 608?: number | readonly [number, number, number] }
> = {
  Pause: { typical: 0.1, maximum: 3 },
  Read: { typical: 0.1, maximum: 1, 608: 5 },
  MAC: { typical: 5, maximum: 14, 608: 55 },
  HMAC: { typical: 13, maximum: 23 },
  Write: { typical: 7, maximum: 26, 608: 45 },
  GenDig: { typical: 5, maximum: 11, 608: [25, 35, 35] },
  Nonce: { typical: 0.1, maximum: 7, 608: 20 },
  Lock: { typical: 8, maximum: 32, 608: 35 },
  Random: { typical: 1, maximum: 23, 608: 23 },
  DeriveKey: { typical: 2, maximum: 50, 608: 50 },
  UpdateExtra: { typical: 8, maximum: 10, 608: 10 },
  Counter: { typical: 5, maximum: 20, 608: 25 },
  CheckMac: { typical: 5, maximum: 13, 608: 40 },
  Info: { typical: 0.1, maximum: 1, 608: 5 },
  GenKey: { typical: 11, maximum: 115, 608: [115, 215, 653] },
  Sign: { typical: 42, maximum: 50, 608: [115, 220, 665] },
  ECDH: { typical: 38, maximum: 58, 608: [75, 172, 531] },
  Verify: { typical: 38, maximum: 58, 608: [105, 295, 1085] },
  PrivWrite: { typical: 1, maximum: 48, 608: 50 },
  SHA: { typical: 7, maximum: 9, 608: [36, 42, 75] },
  AES: { 608: 27 },
  KDF: { 608: 165 },
  SelfTest: { 608: [250, 625, 2324] },
  SecureBoot: { 608: [80, 160, 480] },
};
