import { fromHex } from "../../src/bytes/bytes.ts";
import { ThornkeyError } from "../../src/errors.ts";
import { openI2cDevice } from "../../src/machine/i2c-dev.ts";
import { CHIP } from "./raw-chip.ts";
import { disturbChip, useChip } from "./session.ts";

// Uses the chip through our own I2C device, in a process of its own so that the shim can be loaded into it.
//   node device-session.ts use DIGEST | disturb | probe | command
const [what, digest = ""] = process.argv.slice(2);

function report(): unknown {
  try {
    const bus = openI2cDevice("/dev/i2c-1");
    try {
      if (what === "use") return useChip(bus, fromHex(digest));
      if (what === "disturb") return disturbChip(bus);
      if (what === "command") return { write: bus.write(CHIP, fromHex("03 07 30 00 00 00 03 5d")) };
      return { read: bus.read(CHIP, 4) !== undefined, write: bus.write(CHIP, Uint8Array.of(0x02)) };
    } finally {
      bus.close();
    }
  } catch (error) {
    if (error instanceof ThornkeyError) return { code: error.code, message: error.message, hint: error.hint };
    throw error;
  }
}

console.log(JSON.stringify(report()));
