import { createECDH, createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Secret } from "../../../src/bytes/secret.ts";
import { authFrom } from "../../../src/roots/tpm/auth.ts";
import * as commands from "../../../src/roots/tpm/commands.ts";
import { openTpmRoot, type TpmRoot } from "../../../src/roots/tpm/root.ts";
import { readRootFile } from "../../../src/roots/tpm/root-file.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "./lab.ts";
import { flipped, openWiretap, type Wiretap } from "./wiretap.ts";

const digest = new Uint8Array(createHash("sha256").update("what is signed").digest());

describe.runIf(HAS_SWTPM)("on the wires between processor and TPM", { timeout: 300_000 }, () => {
  let lab: TpmLab;
  let tpm: SoftwareTpm;
  let proxy: Wiretap;
  let root: TpmRoot;
  /** What the real TPM says its storage key is. */
  let recorded: Buffer | undefined;
  const folder = () => join(lab.folder, "roots");

  beforeAll(async () => {
    lab = openTpmLab();
    tpm = await lab.tpm();
    proxy = await openWiretap(join(lab.folder, "proxy.sock"), () => tpm.socket);
    root = await openTpmRoot(proxy.location, { folder: folder() });
    recorded = proxy.exchanges.findLast(({ code }) => code === commands.ReadPublic.code)?.response;
  });
  afterAll(async () => {
    await root?.close();
    await proxy?.close();
    await lab?.close();
  });

  it("no secret and no authorisation is seen, from the first command on", async () => {
    const secrets = new Map<string, Uint8Array>();
    const keep = (name: string, secret: Secret) =>
      secrets.set(
        name,
        secret.use((bytes) => bytes.slice()),
      );
    const peer = new Uint8Array(createECDH("prime256v1").generateKeys().subarray(1));
    keep("derived", await root.derive("disk", Uint8Array.of(1)));
    const agreeing = await root.generateKey({ algorithm: "p256", use: "agree", occupied: [] });
    keep("agreed", await root.agree(agreeing.handle, peer));
    const signing = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    const signature = await root.sign(signing.handle, digest);
    secrets.set("random", await root.random(64));
    await (await root.counter()).increment();
    await root.certify(digest);
    await root.attestKey(signing.handle, digest);
    const { serial } = await root.describe();
    const file = readRootFile(join(folder(), `${serial}.tpm`));
    if (file === undefined) throw new Error("no file");
    keep("seed", file.seed);
    keep("lockout", file.lockout);
    for (const purpose of ["key", "sealed", "attestation", "counter"] as const) {
      secrets.set(`auth of ${purpose}`, authFrom(file.seed, purpose));
    }
    const wire = Buffer.concat(proxy.exchanges.flatMap(({ request, response }) => [request, response]));
    // The recording is one: what is not secret is in it.
    expect(wire.includes(Buffer.from(signature.subarray(0, 32)))).toBe(true);
    expect(proxy.exchanges.some(({ code }) => code === commands.HierarchyChangeAuth.code)).toBe(true);
    expect(secrets.size).toBe(9);
    for (const [name, secret] of secrets) {
      expect(secret.length).toBeGreaterThanOrEqual(32);
      for (let at = 0; at + 6 <= secret.length; at++) {
        expect(wire.includes(Buffer.from(secret.subarray(at, at + 6))), `${name}[${at}]`).toBe(false);
      }
    }
  });

  it("a wrong length in the head ends in an error within the deadline, and then all goes on", async () => {
    const { handle } = await root.generateKey({ algorithm: "p256", use: "sign", occupied: [] });
    for (const bit of [2 * 8, 4 * 8 + 1, 5 * 8, 5 * 8 + 3]) {
      let done = false;
      proxy.onResponse = (bytes, request) => {
        if (done || request.readUInt32BE(6) !== commands.Sign.code) return bytes;
        done = true;
        return flipped(bytes, bit);
      };
      const result = await root.sign(handle, digest).catch((error: { code: string }) => error.code);
      expect(done).toBe(true);
      if (typeof result === "string") expect(result).toMatch(/ROOT_UNAVAILABLE|TAMPERED/);
      else expect(result).toHaveLength(64); // asked once more
    }
    proxy.onResponse = undefined;
    expect(await root.sign(handle, digest)).toHaveLength(64);
  });

  it("another TPM with the same public answers is noticed: it does not know the storage key", async () => {
    const other = await lab.tpm();
    const real = tpm;
    tpm = other;
    // The impostor has a key of his own at the place, and shows the public part of the real one.
    const impostor = await openTpmRoot(other.location, { folder: join(lab.folder, "impostor") });
    await impostor.close();
    await root.close();
    proxy.onResponse = (bytes, request) =>
      recorded && request.readUInt32BE(6) === commands.ReadPublic.code ? recorded : bytes;
    const { serial } = await openTpmRoot(real.location, { folder: folder() }).then(async (honest) => {
      const description = await honest.describe();
      await honest.close();
      return description;
    });
    await expect(openTpmRoot(proxy.location, { folder: folder(), expected: serial })).rejects.toMatchObject({
      code: expect.stringMatching(/ROOT_REFUSED|TAMPERED|ROOT_UNAVAILABLE/),
    });
    proxy.onResponse = undefined;
    tpm = real;
    root = await openTpmRoot(proxy.location, { folder: folder(), expected: serial });
  });
});
