import { join } from "node:path";
import { expect, it } from "vitest";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import { type Held, heldBy } from "./held.ts";
import { HAS_SWTPM, openTpmLab } from "./lab.ts";
import { watchSessions } from "./session-watch.ts";
import { openWiretap, type Wiretap } from "./wiretap.ts";

it.runIf(HAS_SWTPM)("a root that nobody asks leaves the TPM to others, and goes on when it is asked", async () => {
  const lab = openTpmLab();
  let wire: Wiretap | undefined;
  try {
    const tpm = await lab.tpm();
    wire = await openWiretap(join(lab.folder, "wire.sock"), () => tpm.socket);
    const watch = watchSessions(wire);
    const root = await openTpmRoot(wire.location, { folder: join(lab.folder, "roots"), idle: 100 });
    const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    for (let round = 0; round < 3; round++) {
      const before = watch.begun;
      expect(await root.sign(handle, new Uint8Array(32))).toHaveLength(64);
      let held: Held;
      do held = await heldBy(wire.ask);
      while (held.transient + held.loadedSessions + held.savedSessions > 0);
      if (round > 0) expect(watch.begun).toBe(before + 1);
    }
    await root.close();
  } finally {
    await wire?.close();
    await lab.close();
  }
});
