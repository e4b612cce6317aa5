import { createPublicKey, randomBytes, verify } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkJournal } from "../../src/operations/journal-check.ts";
import { formatTpmLocation } from "../../src/roots/tpm/location.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "../roots/tpm/lab.ts";
import { type Lab, type LabVault, openLab } from "./lab.ts";

describe.runIf(HAS_SWTPM)("a vault on a TPM", { timeout: 120_000 }, () => {
  let tpms: TpmLab;
  let tpm: SoftwareTpm;
  let lab: Lab;
  let vault: LabVault;
  const start = (state = "state") => lab.vault({ state, root: formatTpmLocation(tpm.location) });

  beforeAll(async () => {
    tpms = openTpmLab();
    tpm = await tpms.tpm();
    lab = openLab();
    vault = await start();
  });
  afterAll(async () => {
    await lab?.close();
    await tpms?.close();
  });

  it.each(["p256", "p384", "rsa2048"] as const)(
    "makes a resident %s key that signs, and signs again after a restart",
    async (type) => {
      const user = () => vault.person({ uid: 1000 });
      const { key } = await user().ask("key.create", { name: type, type, protection: "resident" });
      expect(key).toMatchObject({ protection: "resident", type });
      const sign = async () => {
        const data = new Uint8Array(randomBytes(20));
        const { signature } = await user().ask("sign", { key: type, data });
        const { publicKey } = await user().ask("key.public", { key: type });
        const spki = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
        const digest = type === "p384" ? "sha384" : "sha256";
        if (type === "rsa2048") return verify(digest, data, { key: spki, padding: 6, saltLength: 32 }, signature);
        return verify(digest, data, { key: spki, dsaEncoding: "ieee-p1363" }, signature);
      };
      expect(await sign()).toBe(true);
      await vault.end();
      vault = await start();
      expect(await sign()).toBe(true);
    },
  );

  it("says what it is on, and what it makes", async () => {
    const { roots } = await vault.root.ask("status", {});
    expect(roots[0]).toMatchObject({ kind: "tpm", emulated: false, wireProtected: true });
    expect(roots[0]?.makes).toContain("rsa2048 sign");
    const { lines } = await vault.root.ask("journal.read", { limit: 1000 });
    expect(lines.filter((line) => line.includes("random.failed"))).toEqual([]); // its generator is one of two
  });

  it("has its journal signed by the TPM's attestation key", async () => {
    await vault.end();
    vault = await start();
    const { evidenceKey } = await vault.root.ask("status", {});
    const { lines } = await vault.root.ask("journal.read", { limit: 1000 });
    const report = checkJournal(lines, evidenceKey?.slice(-64));
    expect(report.problem).toBeUndefined();
    expect(report.signed).toBeGreaterThan(3);
    // And a line that was changed, with all hashes made fit, is not signed as it is.
    expect(checkJournal(lines, new Uint8Array(64).fill(1)).problem).toBeDefined();
  });

  it("tells observers of the TPM's defence against guessing, and resets it for administrators alone", async () => {
    const user = vault.person({ uid: 1000 });
    expect(await user.codeOf("root.lockout", {})).toBe("NOT_PERMITTED");
    expect(await user.codeOf("root.lockout.reset", {})).toBe("NOT_PERMITTED");
    const { lockouts } = await vault.root.ask("root.lockout", {});
    expect(lockouts).toMatchObject([{ failures: 0, most: 32, locked: false, owner: "vault" }]);
    expect(await vault.root.codeOf("root.lockout.reset", { root: "tpm:/dev/another" })).toBe("USAGE");
    expect(await vault.root.ask("root.lockout.reset", { root: lockouts[0]?.serial })).toEqual({ lockouts });
    const { lines } = await vault.root.ask("journal.read", { limit: 1000 });
    expect(lines.filter((line) => line.includes("forgot the failures"))).toHaveLength(1);
  });

  it("gives a key file to who manages the key, and to nobody else", async () => {
    const [user, other] = [vault.person({ uid: 1000 }), vault.person({ uid: 1001 })];
    const auth = () => new Uint8Array(randomBytes(16));
    const rights = { who: "uid:1001", rights: ["use" as const] };
    await user.ask("key.create", { name: "filed", type: "p256", protection: "resident", policy: { allow: [rights] } });
    expect(await other.codeOf("key.file", { key: "~1000/filed", auth: auth() })).toBe("NOT_PERMITTED");
    expect(await vault.person({ uid: 1002 }).codeOf("key.file", { key: "~1000/filed" })).toBe("KEY_NOT_FOUND");
    const { file } = await user.ask("key.file", { key: "filed", auth: auth() });
    expect(Buffer.from(file).toString()).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----/);
    // Without its authorisation it is of no use, to us either; and it is no material of a wrapped key.
    expect(await other.codeOf("key.import", { name: "mine", material: file.slice() })).toBe("NOT_PERMITTED");
    expect(await other.codeOf("key.import", { name: "mine", material: file.slice(), auth: auth() })).toBe(
      "NOT_PERMITTED",
    );
    expect(await other.codeOf("key.import", { name: "mine", material: auth(), type: "aes256", auth: auth() })).toBe(
      "USAGE",
    );
  });

  it("deletes a resident key, and then it is unknown", async () => {
    const user = vault.person({ uid: 1000 });
    await user.ask("key.create", { name: "gone", type: "p256", protection: "resident" });
    await user.ask("key.delete", { key: "gone" });
    expect(await user.codeOf("sign", { key: "gone", data: new Uint8Array(1) })).toBe("KEY_NOT_FOUND");
  });

  it("notices an old copy of its state", async () => {
    await vault.end();
    lab.copy("state", "old");
    vault = await start();
    await vault.person({ uid: 1000 }).ask("key.create", { name: "newer", type: "p256" });
    await vault.end();
    const old = await start("old");
    expect(old.said).toContain("ROLLED_BACK");
    await old.end();
    vault = await start();
  });

  it("goes on by itself when the TPM was away", async () => {
    const user = vault.person({ uid: 1000 });
    const sign = () => user.codeOf("sign", { key: "p256", data: new Uint8Array(5) });
    expect(await sign()).toBe("done");
    await tpm.stop("SIGKILL");
    expect(await sign()).toBe("ROOT_UNAVAILABLE");
    await tpm.start();
    expect(await sign()).toBe("done");
  });

  it("is not opened with another TPM, nor without the file of what the TPM sealed", async () => {
    await vault.end();
    const other = await tpms.tpm();
    const wrong = await lab.vault({ root: formatTpmLocation(other.location) });
    expect(wrong.said).toContain("NOT_BOUND");
    await wrong.end();
    vault = await start();
  });

  it("destroys itself by clearing the TPM, and is gone", async () => {
    await vault.root.ask("destroy", {
      device: (await vault.root.ask("status", {})).device,
      reason: "the case was opened",
    });
    await vault.end();
    const after = await start();
    expect(after.said).toContain("DESTROYED");
    await after.end();
  });
});
