/** A TPM that was cleared is told from another one, and from one that only lost its storage key. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/machine/clock.ts";
import * as commands from "../../../src/roots/tpm/commands.ts";
import { HANDLE } from "../../../src/roots/tpm/constants.ts";
import { plainEntity } from "../../../src/roots/tpm/frame.ts";
import { findParent, makeParent } from "../../../src/roots/tpm/parent.ts";
import { openTpmRoot } from "../../../src/roots/tpm/root.ts";
import { readRootFile, writeRootFile } from "../../../src/roots/tpm/root-file.ts";
import { type Tpm, tpmOver } from "../../../src/roots/tpm/tpm.ts";
import { openTransport } from "../../../src/roots/tpm/transport.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "./lab.ts";
import { openWiretap, type Wiretap } from "./wiretap.ts";

describe.runIf(HAS_SWTPM)("a TPM in which the state's storage key is not", { timeout: 120_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let wire: Wiretap;
  let number = 0;

  beforeAll(async () => {
    lab = openTpmLab();
    wire = await openWiretap(join(lab.folder, "wire.sock"), () => tpm.socket);
  });
  afterAll(async () => {
    await wire?.close();
    await lab?.close();
  });

  /** A new TPM with a vault's part in it. */
  async function furnished() {
    tpm = await lab.tpm();
    const folder = join(lab.folder, `roots${++number}`);
    const root = await openTpmRoot(tpm.location, { folder });
    const { serial } = await root.describe();
    const open = (location = tpm.location) => openTpmRoot(location, { folder, expected: serial });
    return { folder, root, serial, open, path: join(folder, `${serial}.tpm`) };
  }

  function withCodec(body: (codec: Tpm) => void): void {
    const codec = tpmOver(() => openTransport(tpm.location), systemClock({ spinMilliseconds: 0 }));
    try {
      body(codec);
    } finally {
      codec.close();
    }
  }

  function withoutIdentity(path: string): void {
    const file = readRootFile(path);
    if (file === undefined) throw new Error("no file");
    writeRootFile(path, { ...file, identity: undefined });
  }

  const evict = (codec: Tpm) =>
    codec.run(
      commands.EvictControl,
      [
        plainEntity(HANDLE.owner),
        { ...plainEntity(HANDLE.srk), name: findParent(codec)?.entity.name ?? new Uint8Array() },
      ],
      { persistent: HANDLE.srk },
    );

  it("because it was cleared, says so, also when it is in use anew", async () => {
    const { root, open } = await furnished();
    await root.zeroize();
    await root.close();
    const gone = { code: "DESTROYED", message: expect.stringMatching(/was cleared: its keys are gone/) };
    await expect(open()).rejects.toMatchObject(gone);
    const next = await openTpmRoot(tpm.location, { folder: join(lab.folder, `roots${++number}`) });
    await next.close();
    await expect(open()).rejects.toMatchObject(gone);
  });

  it("because it is another one, says that", async () => {
    const { root, open } = await furnished();
    await root.close();
    tpm = await lab.tpm();
    await expect(open(tpm.location)).rejects.toMatchObject({ code: "NOT_BOUND" });
    const other = await openTpmRoot(tpm.location, { folder: join(lab.folder, `roots${++number}`) });
    await other.close();
    await expect(open(tpm.location)).rejects.toMatchObject({ code: "NOT_BOUND" });
  });

  it("because somebody removed it, says that nothing is lost, and opens when it is back", async () => {
    const { root, open } = await furnished();
    const before = await root.derive("x", new Uint8Array(8));
    await root.close();
    withCodec(evict);
    await expect(open()).rejects.toMatchObject({ code: "ROOT_REFUSED", message: expect.stringContaining("removed") });
    withCodec((codec) => makeParent(codec));
    const again = await open();
    const after = await again.derive("x", new Uint8Array(8));
    expect(after.use((bytes) => Buffer.from(bytes).toString("hex"))).toBe(
      before.use((bytes) => Buffer.from(bytes).toString("hex")),
    );
    await again.close();
  });

  it("is not believed to have been cleared by what it shows: it must have the endorsement key", async () => {
    const { root, open } = await furnished();
    await root.close();
    // What the TPM of the state answers when it is asked for its endorsement key, on the wire.
    withCodec(evict);
    wire.exchanges.length = 0;
    await expect(open(wire.location)).rejects.toMatchObject({ code: "ROOT_REFUSED" });
    const [shown] = wire.exchanges.filter(({ code }) => code === commands.CreatePrimary.code);
    if (shown === undefined) throw new Error("it was not asked");
    tpm = await lab.tpm();
    let replayed = 0;
    wire.onResponse = (bytes, request) => {
      if (request.readUInt32BE(6) !== commands.CreatePrimary.code || !shown.request.equals(request)) return bytes;
      replayed += 1;
      return shown.response;
    };
    await expect(open(wire.location)).rejects.toMatchObject({ code: "NOT_BOUND" });
    wire.onResponse = undefined;
    expect(replayed).toBe(1);
  });

  it("is unknown to a file of an older version, which learns what it needs at the next start", async () => {
    const { root, open, path } = await furnished();
    await root.close();
    const whole = readFileSync(path);
    withoutIdentity(path);
    expect(readFileSync(path).length).toBe(whole.length - 2 * (2 + 34));
    withCodec(evict);
    await expect(open()).rejects.toMatchObject({ code: "NOT_BOUND" });
    withCodec((codec) => makeParent(codec));
    const again = await open();
    expect(readFileSync(path)).toEqual(whole);
    await again.zeroize();
    await again.close();
    await expect(open()).rejects.toMatchObject({ code: "DESTROYED" });
    expect(existsSync(path)).toBe(true);
  });

  it("destroys itself also when the answer to the clearing is lost, or is not its own", async () => {
    for (const spoil of ["cut", (bytes: Buffer) => Buffer.concat([bytes.subarray(0, -1), Buffer.of(0)])] as const) {
      const { root, serial, folder } = await furnished();
      await root.close();
      const behind = await openTpmRoot(wire.location, { folder, expected: serial });
      let spoiled = 0;
      wire.onResponse = (bytes, request) => {
        if (request.readUInt32BE(6) !== commands.Clear.code) return bytes;
        spoiled += 1;
        return spoil === "cut" ? spoil : spoil(bytes);
      };
      expect((await behind.zeroize()).destroyed).toHaveLength(1);
      wire.onResponse = undefined;
      expect(spoiled).toBe(1);
      await behind.close();
    }
  });

  it("is cleared by the platform hierarchy where somebody else has the lockout authorisation", async () => {
    tpm = await lab.tpm();
    withCodec((codec) => {
      const parent = makeParent(codec);
      codec.salt(parent.entity, parent.area);
      const newAuth = new TextEncoder().encode("of another program");
      codec.run(commands.HierarchyChangeAuth, [plainEntity(HANDLE.lockout)], { newAuth });
    });
    const folder = join(lab.folder, `roots${++number}`);
    const root = await openTpmRoot(tpm.location, { folder });
    const { serial, capabilities } = await root.describe();
    expect(capabilities.limits.join()).toContain("another program has the lockout authorisation");
    expect((await root.zeroize()).destroyed).toHaveLength(1);
    await root.close();
    await expect(openTpmRoot(tpm.location, { folder, expected: serial })).rejects.toMatchObject({ code: "DESTROYED" });
  });

  it("that did not hear that it should clear itself does not say that it did", async () => {
    const { root, serial, folder } = await furnished();
    const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    await root.close();
    const behind = await openTpmRoot(wire.location, { folder, expected: serial });
    wire.onRequest = (bytes) => (bytes.readUInt32BE(6) === commands.Clear.code ? "cut" : bytes);
    await expect(behind.zeroize()).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
    wire.onRequest = undefined;
    expect(await behind.sign(handle, new Uint8Array(32))).toHaveLength(64);
    await behind.close();
  });
});
