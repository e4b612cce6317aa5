/** The thread that looks at a bus: a stuck one does not hold whoever asked. */
import { systemClock } from "../../machine/clock.ts";
import { openI2cDevice } from "../../machine/i2c-dev.ts";
import { serveThread } from "../owner-thread.ts";
import { lookForChips, type PresenceCalls } from "./presence.ts";

const calls: PresenceCalls = {
  look(path, addresses) {
    const bus = openI2cDevice(path, { asItIs: true });
    try {
      return lookForChips(bus, systemClock(), addresses);
    } finally {
      bus.close();
    }
  },
};

serveThread(calls, () => {});
