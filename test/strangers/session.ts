import { toHex } from "../../src/bytes/bytes.ts";
import { systemClock } from "../../src/machine/clock.ts";
import type { I2cBus } from "../../src/machine/i2c-bus.ts";
import { answerTo, CHIP, PATIENCE_MILLISECONDS, packet, payloadOf, SLEEP, wake } from "./raw-chip.ts";

/** What anybody who uses the chip gets to see; byte arrays in hexadecimal. */
export interface Report {
  acknowledgedAsleep: boolean;
  info: string;
  random: string;
  publicKey: string;
  /** The status of Nonce. */
  nonce: string;
  signature: string;
  acknowledgedAfterSleep: boolean;
}

/** What the chip does when it is asked while it works. */
export interface BusyReport {
  acknowledgedBusy: boolean;
  publicKey: string;
}

/** Wake, Info, Random, public key, Nonce and Sign, sleep: over a bus of ours. */
export function useChip(bus: I2cBus, digest: Uint8Array): Report {
  const acknowledgedAsleep = bus.read(CHIP, 4) !== undefined;
  wake(bus);
  const report = {
    acknowledgedAsleep,
    info: toHex(answerTo(bus, packet(0x30, 0, 0), 4)),
    random: toHex(answerTo(bus, packet(0x1b, 0, 0), 32)),
    publicKey: toHex(answerTo(bus, packet(0x40, 0, 0), 64)),
    nonce: toHex(answerTo(bus, packet(0x16, 3, 0, digest), 1)),
    signature: toHex(answerTo(bus, packet(0x41, 0x80, 0), 64)),
  };
  bus.write(CHIP, SLEEP);
  return { ...report, acknowledgedAfterSleep: bus.read(CHIP, 4) !== undefined };
}

/**
 * Asks for the public key, which takes the chip long, and reads at once and until the answer is there. On a busy
 * machine the first read may come too late, or the watchdog may put the chip to sleep; then it is tried again.
 */
export function disturbChip(bus: I2cBus): BusyReport {
  const clock = systemClock();
  const deadline = clock.now() + PATIENCE_MILLISECONDS;
  for (;;) {
    wake(bus);
    const sent = bus.write(CHIP, packet(0x40, 0, 0));
    const acknowledgedBusy = bus.read(CHIP, 67) !== undefined;
    let answer: Uint8Array | undefined;
    for (let tries = 0; tries < 300 && answer === undefined; tries++) {
      clock.sleep(1);
      answer = bus.read(CHIP, 67);
    }
    if (sent && !acknowledgedBusy && answer !== undefined && answer[0] === answer.length) {
      return { acknowledgedBusy, publicKey: toHex(payloadOf(answer)) };
    }
    if (clock.now() > deadline) return { acknowledgedBusy: true, publicKey: "" };
  }
}
