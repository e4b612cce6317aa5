/** The I2C bus: the kernel's own driver i2c-tiny-usb, and behind its USB adapter the emulated secure element. */
import { join } from "node:path";
import { openI2cSocket } from "../../src/machine/i2c-socket.ts";
import { startEmulatedChip } from "../../src/roots/atecc/emulated.ts";
import { offerAdapter } from "./i2c-tiny-usb.ts";
import type { Part } from "./part.ts";

export function i2cPart(timing: "none" | "typical" | "maximum"): Part {
  return {
    name: "i2c",
    missing: () => undefined,
    modules: ["usb-common", "usbcore", "uhci-hcd", "i2c-tiny-usb", "i2c-dev"],
    longest: 900_000,
    async start(folder) {
      const emulator = await startEmulatedChip(join(folder, "chip.eeprom"), { timing });
      const bus = openI2cSocket(emulator.location.bus.path);
      const socket = join(folder, "usb");
      const adapter = await offerAdapter(socket, bus);
      return {
        devices: [
          ...["-device", "ich9-usb-uhci1"],
          ...["-chardev", `socket,id=usb,path=${socket}`, "-device", "usb-redir,chardev=usb"],
        ],
        asks: { unplug: adapter.unplug, plug: adapter.plug },
        summary: () => `${adapter.transactions} transactions with ${timing} times`,
        async close() {
          adapter.close();
          bus.close();
          await emulator.close();
        },
      };
    },
  };
}
