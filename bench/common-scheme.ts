/**
 * How a widely used driver talks to the chip, as a peer to measure beside ours: it wakes and idles the chip around every
 * command, first looks after 1 ms and then every 2 ms, and takes an answer in three transactions (reset of the read
 * pointer, one byte for the length, the rest). Written from the published description of that scheme.
 */

import type { Clock } from "../src/machine/clock.ts";
import type { I2cBus } from "../src/machine/i2c-bus.ts";
import { encodeRequest, type Request, WORD_ADDRESS } from "../src/roots/atecc/packet.ts";

const ADDRESS = 0x60;

export function commonScheme(bus: I2cBus, clock: Clock, request: Request): Uint8Array {
  bus.write(0, Uint8Array.of(1));
  clock.sleep(1.5);
  bus.read(ADDRESS, 4);
  if (!bus.write(ADDRESS, encodeRequest(request))) throw new Error("not acknowledged");
  clock.sleep(1);
  for (let tries = 0; tries < 1000; tries++) {
    if (bus.write(ADDRESS, Uint8Array.of(WORD_ADDRESS.resetPointer))) {
      const [count = 0] = bus.read(ADDRESS, 1) ?? [];
      const rest = bus.read(ADDRESS, count - 1) ?? new Uint8Array();
      bus.write(ADDRESS, Uint8Array.of(WORD_ADDRESS.idle));
      return rest.subarray(0, -2);
    }
    clock.sleep(2);
  }
  throw new Error("no answer");
}
