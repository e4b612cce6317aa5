import { AT } from "./device.ts";

export const LAST_COUNT = 2_097_151;

/** Value of a monotonic counter from its 8 bytes: linA, linB, binA, binB, each big-endian. */
export function counterValue(config: Uint8Array, counter: 0 | 1): number {
  const view = Buffer.from(config.slice(AT.counter[counter], AT.counter[counter] + 8));
  const zerosOf = (word: number): number => 16 - word.toString(2).replaceAll("0", "").length;
  const [a, b] = [zerosOf(view.readUInt16BE(0)), zerosOf(view.readUInt16BE(2))];
  return 32 * view.readUInt16BE(4) + (a < 16 ? a : 16 + b);
}

export function setCounter(config: Uint8Array, counter: 0 | 1, value: number): void {
  const ones = (shift: number): number => (shift >= 16 ? 0 : 0xffff >> shift);
  const late = value >= 16;
  const field = Buffer.alloc(8);
  field.writeUInt16BE(ones(value % 32), 0);
  field.writeUInt16BE(late ? ones((value - 16) % 32) : 0xffff, 2);
  field.writeUInt16BE(Math.floor(value / 32), 4);
  field.writeUInt16BE(late ? Math.floor((value - 16) / 32) : 0, 6);
  config.set(field, AT.counter[counter]);
}
