import { CONFIG } from "./config.ts";
import type { Memory } from "./memory.ts";

export const COUNTER_MAX = 2097151;
const SIZE = 8;

/**
 * The coding of a monotonic counter in 8 bytes: linA, linB, binA, binB, each u16 big-endian. The lin fields lose one
 * bit per count; A and B take turns, 16 counts each. A bin field counts the rounds of its lin field.
 *
 * @param value 0 to 2097151
 */
export function encodeCounter(value: number): Uint8Array {
  const late = value - 16;
  const fields = [
    shifted(value % 32),
    late < 0 ? 0xffff : shifted(late % 32),
    Math.floor(value / 32),
    late < 0 ? 0 : Math.floor(late / 32),
  ];
  const bytes = new Uint8Array(SIZE);
  for (const [i, field] of fields.entries()) bytes.set([field >> 8, field & 0xff], 2 * i);
  return bytes;
}

/**
 * Reads the coding, also when power was lost while it changed from v to v+1: the answer is then v or v+1, and stays
 * that until the next increment.
 *
 * The words change in order, lin before bin, and a word may be any mix of its old and new bytes. Between the carries
 * one byte changes, so only the carries matter. Carry of A (v+1 a multiple of 32): binA alone changes in the bin word,
 * and only after the lin word is FFFF 0000. Carry of B (v+1 = 16 mod 32): binB alone changes, after 0000 FFFF. So while
 * the lin word is torn the bin word tells which half of the round it is, and while the bin word is torn the lin word
 * tells which bin field to trust.
 */
export function decodeCounter(bytes: Uint8Array): number {
  const linA = u16(bytes, 0);
  const linB = u16(bytes, 2);
  const binA = u16(bytes, 4);
  const binB = u16(bytes, 6);
  return Math.min(COUNTER_MAX, decode());

  function decode(): number {
    // In the first 16 counts B has not begun; its bin is 0 like A's.
    if (binA === 0 && binB === 0 && linB === 0xffff) return zeros(linA);
    if (binA === binB) return 32 * binA + 16 + zeros(linB);
    if (binA === binB + 1) return 32 * binA + zeros(linA);
    return linA === 0xffff ? 32 * (binB + 1) : 32 * binA + 16;
  }
}

/** @param counter 0 or 1 */
export function readCounter(memory: Memory, counter: number): number {
  return decodeCounter(stored(memory, counter));
}

/** @returns the new value, or undefined when the counter is at its end */
export function incrementCounter(memory: Memory, counter: number): number | undefined {
  const value = readCounter(memory, counter);
  if (value >= COUNTER_MAX) return undefined;
  // Repairs what a loss of power may have torn: decoding allows for one torn step, not for two.
  memory.write("config", offsetOf(counter), encodeCounter(value));
  memory.write("config", offsetOf(counter), encodeCounter(value + 1));
  return value + 1;
}

function stored(memory: Memory, counter: number): Uint8Array {
  return memory.config.subarray(offsetOf(counter), offsetOf(counter) + SIZE);
}

function offsetOf(counter: number): number {
  return CONFIG.COUNTERS + SIZE * counter;
}

function shifted(bits: number): number {
  return bits < 16 ? 0xffff >> bits : 0;
}

function zeros(field: number): number {
  let count = 0;
  for (let bit = 0; bit < 16; bit++) if (!(field & (1 << bit))) count++;
  return count;
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}
