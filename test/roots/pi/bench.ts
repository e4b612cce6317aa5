import { join } from "node:path";
import { freshKeyPair } from "../../../src/emulators/atecc508a/p256.ts";
import { createFirmware, type Mode } from "../../../src/emulators/pi-firmware/firmware.ts";
import { otpInRam } from "../../../src/emulators/pi-firmware/otp.ts";
import { serve } from "../../../src/emulators/pi-firmware/server.ts";
import { openPiRoot } from "../../../src/roots/pi/root.ts";
import type { Bench } from "../contract.ts";
import { folder } from "./lab.ts";

export async function piBench(mode: Mode): Promise<Bench> {
  const { path, remove } = folder();
  const servers: { close(): Promise<void> }[] = [];
  const make = async (name: string) => {
    const socket = join(path, name);
    servers.push(await serve(createFirmware({ otp: otpInRam(freshKeyPair().scalar), mode }), socket));
    return `unix:${socket}`;
  };
  const first = await make("first");
  let others = 0;
  return {
    open: () => openPiRoot({ node: first }),
    openAnother: async () => openPiRoot({ node: await make(`other-${++others}`) }),
    async close() {
      for (const server of servers) await server.close();
      remove();
    },
  };
}
