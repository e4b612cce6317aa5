import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatPkcs11Location } from "../../src/roots/pkcs11/index.ts";
import { PIN } from "../roots/pkcs11/softhsm.ts";
import { type BadToken, badTokens } from "../roots/pkcs11/vendor.ts";
import { type Lab, type LabVault, openLab } from "./lab.ts";

const bad = badTokens();

if ("missing" in bad) describe("a vault on a token", () => it.skip(bad.missing));
else {
  describe("a vault on a token whose vendor's module misbehaves", { timeout: 180_000 }, () => {
    let token: BadToken;
    let lab: Lab;
    let vault: LabVault;
    const user = () => vault.person({ uid: 1000 });
    const signs = (key: string) => user().codeOf("sign", { key, data: new Uint8Array(4) });

    beforeAll(async () => {
      token = bad.make();
      lab = openLab();
      writeFileSync(join(lab.folder, "pin"), PIN, { mode: 0o600 });
      vault = await lab.vault({ root: specification() });
      await user().ask("key.create", { name: "wrapped", type: "p256" });
      await user().ask("key.create", { name: "resident", type: "p256", protection: "resident" });
      await user().ask("key.create", { name: "rsa", type: "rsa2048", protection: "resident" });
    });
    afterAll(async () => {
      token?.vendor.misbehave();
      await lab?.close();
      token?.close();
    });
    const specification = () => formatPkcs11Location({ ...token.location, pinSource: join(lab.folder, "pin") });

    it("keeps keys in it and sealed by it, over a restart", async () => {
      for (const key of ["wrapped", "resident", "rsa"]) expect(await signs(key)).toBe("done");
      await vault.end();
      vault = await lab.vault({ root: specification() });
      for (const key of ["wrapped", "resident", "rsa"]) expect(await signs(key)).toBe("done");
      const { roots } = await vault.root.ask("root.list", {});
      expect(roots[0]).toMatchObject({ kind: "pkcs11", present: true });
    });

    it("a crash of the module costs a retry, and nobody hears of it", async () => {
      token.vendor.misbehave("C_Sign crash 1");
      expect(await signs("resident")).toBe("done");
    });

    it("while the module hangs, others go on: keys in the vault sign, and everything else is answered", async () => {
      token.vendor.misbehave("C_Sign hang 1");
      const stuck = signs("resident");
      for (let n = 0; n < 20; n++) expect(await signs("wrapped")).toBe("done");
      expect(await user().codeOf("status", {})).toBe("done");
      token.vendor.misbehave();
      expect(await stuck).toMatch(/ROOT_UNAVAILABLE|done/);
      expect(await signs("resident")).toBe("done");
    });

    it("garbage of the module is an error, and never a signature", async () => {
      token.vendor.misbehave("C_Sign garbage -1");
      expect(await signs("resident")).toBe("ROOT_UNAVAILABLE");
      expect(await signs("wrapped")).toBe("done");
      token.vendor.misbehave();
      expect(await signs("resident")).toBe("done");
    });

    it("a token that is pulled is said to be gone, and works when it is back", async () => {
      token.vendor.plug(false);
      expect(await signs("resident")).toBe("ROOT_UNAVAILABLE");
      expect(await signs("wrapped")).toBe("done");
      token.vendor.plug(true);
      expect(await signs("resident")).toBe("done");
    });
  });
}
