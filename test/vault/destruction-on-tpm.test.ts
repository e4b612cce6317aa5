/** A vault on a TPM that is killed while it destroys itself: the next start finishes it, wherever it was. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as commands from "../../src/roots/tpm/commands.ts";
import { formatTpmLocation } from "../../src/roots/tpm/location.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "../roots/tpm/lab.ts";
import { openWiretap, type Wiretap } from "../roots/tpm/wiretap.ts";
import { type Lab, type LabVault, openLab } from "./lab.ts";

describe.runIf(HAS_SWTPM)("a vault on a TPM, killed while it destroys itself", { timeout: 120_000 }, () => {
  let tpms: TpmLab;
  let tpm: SoftwareTpm;
  let wire: Wiretap;
  let lab: Lab;
  const root = () => formatTpmLocation(wire.location);
  const start = (state: string) => lab.vault({ state, root: root() });
  const latch = (state: string) =>
    JSON.parse(readFileSync(join(lab.path(state), "destroyed"), "utf8")) as { done: boolean };

  beforeAll(async () => {
    tpms = openTpmLab();
    tpm = await tpms.tpm();
    wire = await openWiretap(join(tpms.folder, "wire.sock"), () => tpm.socket);
    lab = openLab();
  });
  afterAll(async () => {
    await lab?.close();
    await wire?.close();
    await tpms?.close();
  });

  async function destroy(vault: LabVault): Promise<string> {
    return vault.root.codeOf("destroy", { device: (await vault.root.ask("status", {})).device });
  }

  const { Clear, CreatePrimary, EvictControl, HierarchyChangeAuth } = commands;
  it.each([
    ["before the TPM was cleared", Clear.code, "request"],
    ["when it was cleared, before the vault heard of it", Clear.code, "response"],
    ["before it had a storage key again", CreatePrimary.code, "request"],
    ["when it had another storage key", EvictControl.code, "response"],
    ["when nobody could clear it again", HierarchyChangeAuth.code, "response"],
  ] as const)("%s", async (name, code, when) => {
    tpm = await tpms.tpm();
    const vault = await start(name);
    expect(vault.said, vault.stderr()).toBe("ready");
    let killed: Promise<unknown> | undefined;
    const kill = (bytes: Buffer, request: Buffer) => {
      if (request.readUInt32BE(6) !== code || killed !== undefined) return bytes;
      killed = vault.end("SIGKILL");
      return "cut" as const;
    };
    if (when === "request") wire.onRequest = (bytes) => kill(bytes, bytes);
    else wire.onResponse = kill;
    expect(await destroy(vault)).not.toBe("done");
    expect(killed).toBeDefined();
    await killed;
    wire.onRequest = undefined;
    wire.onResponse = undefined;
    expect(latch(name)).toMatchObject({ done: false });
    const next = await start(name);
    expect(next.said).toBe("refused DESTROYED");
    expect(latch(name), next.stderr()).toMatchObject({ done: true });
    expect(next.stderr()).not.toContain("not reached yet");
    await next.end();
  });

  it("is not finished by another TPM, and is by its own when that is back", async () => {
    const own = await tpms.tpm();
    tpm = own;
    const vault = await start("away");
    wire.onRequest = (bytes) => {
      if (bytes.readUInt32BE(6) !== Clear.code) return bytes;
      void vault.end("SIGKILL");
      return "cut";
    };
    expect(await destroy(vault)).not.toBe("done");
    wire.onRequest = undefined;
    tpm = await tpms.tpm();
    const wrong = await start("away");
    expect(wrong.said).toBe("refused DESTROYED");
    expect(wrong.stderr()).toContain("not reached yet");
    expect(latch("away")).toMatchObject({ done: false });
    await wrong.end();
    tpm = own;
    const right = await start("away");
    expect(latch("away")).toMatchObject({ done: true });
    await right.end();
  });
});
