/** A vault whose root is a Raspberry Pi's firmware: what it locks once it is open. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freshKeyPair } from "../../src/emulators/atecc508a/p256.ts";
import { createFirmware, type Firmware } from "../../src/emulators/pi-firmware/firmware.ts";
import { otpInRam } from "../../src/emulators/pi-firmware/otp.ts";
import { serve } from "../../src/emulators/pi-firmware/server.ts";
import { type Lab, openLab } from "./lab.ts";

describe("a vault on the Raspberry Pi's own key", () => {
  let lab: Lab;
  let firmware: Firmware;
  let served: { close(): Promise<void> };
  let node: string;

  beforeAll(async () => {
    lab = openLab();
    firmware = createFirmware({ otp: otpInRam(freshKeyPair().scalar) });
    node = `unix:${join(lab.folder, "pi.sock")}`;
    served = await serve(firmware, join(lab.folder, "pi.sock"));
  });
  afterAll(async () => {
    await lab?.close();
    await served?.close();
  });

  it("locks reading and making the key, and opens again as often as it likes", async () => {
    for (let start = 0; start < 2; start++) {
      const vault = await lab.vault({ state: "plain", root: `pi:${node}` });
      expect(vault.said).toBe("ready");
      const { roots } = await vault.root.ask("status", {});
      expect(roots[0]?.limits).toContain("locked until the next reboot: READ, GEN");
      await vault.end();
    }
  });

  it("with lock=hmac opens once for each boot, goes on working, and says why it does not open again", async () => {
    firmware.reboot();
    const root = `pi:${node}?lock=hmac`;
    const vault = await lab.vault({ state: "locked", root });
    expect(vault.said).toBe("ready");
    const user = vault.person({ uid: 1000 });
    await user.ask("key.create", { name: "k", type: "p256" });
    expect((await user.ask("sign", { key: "k", data: new Uint8Array(3) })).signature).toHaveLength(64);
    await vault.end();
    const again = await lab.vault({ state: "locked", root });
    expect(again.said).toBe("refused ROOT_REFUSED");
    expect(again.stderr()).toContain("HMAC is locked until the next reboot");
    await again.end();
    firmware.reboot();
    const after = await lab.vault({ state: "locked", root });
    expect(after.said).toBe("ready");
    const { signature } = await after.person({ uid: 1000 }).ask("sign", { key: "k", data: new Uint8Array(3) });
    expect(signature).toHaveLength(64);
    await after.end();
  });

  it.each(["pi?lock=everything", "pi:?lock=hmac", "pi?lick=hmac"])("%s is no specification", async (root) => {
    const vault = await lab.vault({ state: "none", root });
    expect(vault.said).not.toBe("ready");
    expect(vault.stderr()).toMatch(/names no (root|firmware)/);
    await vault.end();
  });
});
