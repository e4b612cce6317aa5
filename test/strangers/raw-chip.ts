import { setTimeout as pause } from "node:timers/promises";
import { concat, equal, fromHex } from "../../src/bytes/bytes.ts";
import { crc16 } from "../../src/bytes/crc16.ts";
import { systemClock } from "../../src/machine/clock.ts";
import type { I2cBus } from "../../src/machine/i2c-bus.ts";

/** The chip without any driver of ours: packets by hand, as the data sheet has them. */

/** The chip's factory address. */
export const CHIP = 0x60;

/** Word address 01: sleep. */
export const SLEEP: Uint8Array = Uint8Array.of(0x01);

/** What a test may wait for anything. */
export const PATIENCE_MILLISECONDS = 60_000;

const clock = systemClock();

/** @returns word address 03, count, opcode, param1, param2, data, CRC */
export function packet(
  opcode: number,
  param1: number,
  param2: number,
  data: Uint8Array = new Uint8Array(),
): Uint8Array {
  const body = concat(Uint8Array.of(data.length + 7, opcode, param1, param2 & 0xff, param2 >> 8), data);
  const crc = crc16(body);
  return concat(Uint8Array.of(0x03), body, Uint8Array.of(crc & 0xff, crc >> 8));
}

/** General call, then what the chip says when it is awake. */
export function wake(bus: I2cBus): void {
  const deadline = clock.now() + PATIENCE_MILLISECONDS;
  for (;;) {
    bus.write(0, Uint8Array.of(0));
    clock.sleep(1.6);
    const answer = bus.read(CHIP, 4);
    if (answer !== undefined && equal(answer, fromHex("04 11 33 43"))) return;
    // Awake already, it still holds the answer to an earlier command.
    if (answer !== undefined) bus.write(CHIP, SLEEP);
    if (clock.now() > deadline) throw new Error(`it does not wake: ${answer}`);
  }
}

/**
 * One command, polled until the chip acknowledges again.
 *
 * @param length of the payload of the answer
 * @returns the payload
 */
export function answerTo(bus: I2cBus, request: Uint8Array, length: number): Uint8Array {
  if (!bus.write(CHIP, request)) throw new Error("the command was not acknowledged");
  const deadline = clock.now() + PATIENCE_MILLISECONDS;
  let answer = bus.read(CHIP, length + 3);
  while (answer === undefined) {
    if (clock.now() > deadline) throw new Error("no answer");
    clock.sleep(0.5);
    answer = bus.read(CHIP, length + 3);
  }
  return payloadOf(answer);
}

/** @returns what is between count and CRC, when both are right */
export function payloadOf(answer: Uint8Array): Uint8Array {
  const [count = 0] = answer;
  const body = answer.subarray(0, count - 2);
  const crc = crc16(body);
  if (count !== answer.length || answer[count - 2] !== (crc & 0xff) || answer[count - 1] !== crc >> 8) {
    throw new Error(`not an answer of this length: ${Buffer.from(answer).toString("hex")}`);
  }
  return body.slice(1);
}

/** Tries again until `attempt` gives something. */
export async function eventually<T>(attempt: () => T | undefined): Promise<T> {
  const deadline = clock.now() + PATIENCE_MILLISECONDS;
  for (;;) {
    const result = attempt();
    if (result !== undefined) return result;
    if (clock.now() > deadline) throw new Error(`it never came: ${attempt}`);
    await pause(5);
  }
}
