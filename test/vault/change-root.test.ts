import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkJournal } from "../../src/operations/journal-check.ts";
import { formatTpmLocation } from "../../src/roots/tpm/location.ts";
import { HAS_SWTPM, openTpmLab, type TpmLab } from "../roots/tpm/lab.ts";
import { type Lab, type LabVault, openLab, type Person } from "./lab.ts";
import { rootCrashes } from "./root-crash.ts";

describe("another root for a state", { timeout: 180_000 }, () => {
  let lab: Lab;
  let tpms: TpmLab | undefined;
  const chip = (name: string) => `emulated:${lab.path(name)}`;

  beforeEach(() => {
    lab = openLab();
  });
  afterEach(async () => {
    await lab.close();
    await tpms?.close();
    tpms = undefined;
  });

  async function furnished(root: string): Promise<LabVault> {
    const vault = await lab.vault({ root });
    const user = vault.person({ uid: 1000 });
    await user.ask("key.create", { name: "wrapped", type: "p256" });
    await user.ask("key.create", { name: "resident", type: "p256", protection: "resident" });
    return vault;
  }

  const user = (vault: LabVault): Person => vault.person({ uid: 1000 });

  async function signs(vault: LabVault, key: string): Promise<boolean | string> {
    const data = new Uint8Array(randomBytes(10));
    try {
      const { publicKey } = await user(vault).ask("key.public", { key });
      const { signature } = await user(vault).ask("sign", { key, data });
      const spki = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
      return verify("sha256", data, { key: spki, dsaEncoding: "ieee-p1363" }, signature);
    } catch (error) {
      return (error as { code: string }).code;
    }
  }

  async function journalHolds(vault: LabVault, firstKey: Uint8Array | undefined): Promise<void> {
    await vault.root.ask("journal.checkpoint", {});
    const { lines } = await vault.root.ask("journal.read", { limit: 1000 });
    const report = checkJournal(lines, firstKey);
    expect(report.problem).toBeUndefined();
    expect(report.signed).toBeGreaterThan(lines.length - 3);
  }

  const evidenceOf = async (vault: LabVault) => (await vault.root.ask("status", {})).evidenceKey?.slice(-64);

  it("a second secure element is added: both are needed, all keys go on, and taken away again", async () => {
    let vault = await furnished(chip("a"));
    const first = await evidenceOf(vault);
    const { root } = await vault.root.ask("root.add", { specification: chip("b") });
    expect(root.kind).toBe("composite");
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, true]);
    await journalHolds(vault, first);
    await vault.end();

    // Whoever still names the one before means both.
    vault = await lab.vault({ root: chip("a") });
    expect(vault.said).toBe("ready");
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, true]);
    const { roots, needed } = await vault.root.ask("root.list", {});
    expect({ needed, there: roots.map(({ present }) => present) }).toEqual({ needed: 2, there: [true, true] });
    await vault.end();

    // Without the second: nothing.
    lab.copy("b", "kept");
    const other = await lab.vault({ root: `${chip("a")}+${chip("c")}` });
    expect(other.said).toMatch(/NOT_BOUND|ROOT_REFUSED/);
    expect(`${other.said}${other.stderr()}`).toContain("part 2");
    await other.end();

    vault = await lab.vault({ root: chip("a") });
    const { roots: both } = await vault.root.ask("root.list", {});
    const { leftBehind } = await vault.root.ask("root.remove", { root: both[1]?.serial ?? "" });
    expect(leftBehind).toEqual([]);
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, true]);
    await journalHolds(vault, first);
    await vault.end();
    vault = await lab.vault({ root: chip("a") });
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, true]);
  });

  it("a part that is put back to an earlier time is noticed, and named", async () => {
    let vault = await furnished(`${chip("a")}+${chip("b")}`);
    await vault.end();
    lab.copy("b", "early");
    vault = await lab.vault({ root: `${chip("a")}+${chip("b")}` });
    await user(vault).ask("key.create", { name: "later", type: "p256" });
    for (let n = 0; n < 3; n++)
      await user(vault)
        .ask("key.delete", { key: "later" })
        .catch(() => {});
    await vault.end();
    lab.copy("early", "b");
    const old = await lab.vault({ root: `${chip("a")}+${chip("b")}` });
    expect(`${old.said}${old.stderr()}`).toMatch(/ROLLED_BACK.*part 2/s);
  });

  it("moves: sealed keys follow, keys inside stay behind only when that is said, and are named", async () => {
    let vault = await furnished(chip("a"));
    const first = await evidenceOf(vault);
    await expect(vault.root.ask("root.move", { specification: chip("b") })).rejects.toMatchObject({
      code: "ROOT_REFUSED",
      message: expect.stringContaining("~1000/resident"),
    });
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, true]);
    const answer = await vault.root.ask("root.move", { specification: chip("b"), leaveBehind: true });
    expect(answer.leftBehind).toEqual(["~1000/resident"]);
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, "KEY_NOT_FOUND"]);
    await journalHolds(vault, first);
    await vault.end();
    vault = await lab.vault({ root: chip("b") });
    expect(await signs(vault, "wrapped")).toBe(true);
    await vault.end();
    vault = await lab.vault({ root: chip("a") }); // which is understood as the one it moved to
    expect(await signs(vault, "wrapped")).toBe(true);
  });

  it("a copy of the state from before a move opens no more", async () => {
    const vault = await furnished(chip("a"));
    lab.copy("state", "before");
    await vault.root.ask("root.move", { specification: chip("b"), leaveBehind: true });
    await vault.end();
    const old = await lab.vault({ state: "before", root: chip("a") });
    expect(old.said).toContain("ROLLED_BACK");
  });

  it("only administrators change it, and in a sealed vault only with the owner's recovery key", async () => {
    let vault = await furnished(chip("a"));
    expect(await user(vault).codeOf("root.add", { specification: chip("b") })).toBe("NOT_PERMITTED");
    const { recovery } = await vault.root.ask("bind.seal", {});
    const key = () => (recovery ?? new Uint8Array(32)).slice();
    expect(await vault.root.codeOf("root.add", { specification: chip("b") })).toBe("NOT_PERMITTED");
    await vault.root.ask("bind.confirm", { recovery: key() });
    expect(await vault.root.codeOf("root.add", { specification: chip("b") })).toBe("NOT_PERMITTED");
    const wrong = new Uint8Array(32).fill(1);
    await expect(vault.root.ask("root.add", { specification: chip("b"), recovery: wrong })).rejects.toMatchObject({
      code: "NOT_PERMITTED",
    });
    await vault.root.ask("root.add", { specification: chip("b"), recovery: key() });
    await vault.end();
    vault = await lab.vault({ root: chip("a") });
    expect(await signs(vault, "wrapped")).toBe(true);
    // And the recovery key is that of the vault still.
    await vault.root.ask("bind.undo", { recovery: key() });
  });

  it("killed at any moment leaves the state on one root or the other, whole", async () => {
    expect(await rootCrashes(5, Date.now() % 1_000_000)).toMatchObject({ kills: 5 });
  });

  it("what cannot be is refused, and changes nothing", async () => {
    const vault = await furnished(chip("a"));
    const codes = {
      unknown: await vault.root.codeOf("root.add", { specification: "paper:x" }),
      same: await vault.root.codeOf("root.add", { specification: chip("a") }),
      missing: await vault.root.codeOf("root.add", { specification: "tpm:unix:/nowhere.sock" }),
      needed: await vault.root.codeOf("root.add", { specification: chip("b"), needed: 3 }),
      only: await vault.root.codeOf("root.remove", { root: chip("a") }),
      other: await vault.root.codeOf("root.remove", { root: "nothing" }),
    };
    expect(codes).toEqual({
      unknown: "USAGE",
      same: "USAGE",
      missing: "ROOT_UNAVAILABLE",
      needed: "USAGE",
      only: "USAGE",
      other: "KEY_NOT_FOUND",
    });
    expect([await signs(vault, "wrapped"), await signs(vault, "resident")]).toEqual([true, true]);
  });

  it("two of three: one may be missing, and is told of", async () => {
    let vault = await furnished(`2of(${chip("a")},${chip("b")},${chip("c")})`);
    await vault.end();
    const wish = `2of(${chip("a")},${chip("elsewhere")},${chip("c")})`;
    vault = await lab.vault({ root: wish });
    expect(vault.said).toBe("ready");
    expect(await signs(vault, "wrapped")).toBe(true);
    const { roots } = await vault.root.ask("root.list", {});
    expect(roots.filter(({ present }) => !present)).toHaveLength(1);
  });

  it.runIf(HAS_SWTPM)("from a secure element to a TPM, with both in between", async () => {
    tpms = openTpmLab();
    const tpm = formatTpmLocation((await tpms.tpm()).location);
    let vault = await furnished(chip("a"));
    const first = await evidenceOf(vault);
    const text = createHash("sha256").update("x").digest();
    await vault.root.ask("root.add", { specification: tpm });
    await user(vault).ask("key.create", { name: "rsa", type: "rsa2048", protection: "resident" });
    await vault.end();
    vault = await lab.vault({ root: `${chip("a")}+${tpm}` });
    await vault.root.ask("root.remove", { root: chip("a"), leaveBehind: true });
    expect(await signs(vault, "wrapped")).toBe(true);
    expect(await signs(vault, "resident")).toBe("KEY_NOT_FOUND");
    await user(vault).ask("sign", { key: "rsa", data: new Uint8Array(text) });
    await journalHolds(vault, first);
    await vault.end();
    vault = await lab.vault({ root: tpm });
    expect(await signs(vault, "wrapped")).toBe(true);
    await user(vault).ask("sign", { key: "rsa", data: new Uint8Array(text) });
  });
});
