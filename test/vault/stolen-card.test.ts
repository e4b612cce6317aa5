/** What a thief of the card has, and what an old copy of it is worth. */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesOf, ELSEWHERE, HERE, type LabVault, openLab, tracesOf } from "./lab.ts";

const lab = openLab();
afterAll(() => lab.close());

const imported = generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
const scalar = new Uint8Array(Buffer.from(imported.export({ format: "jwk" }).d ?? "", "base64url"));
const ingredient = new Uint8Array(randomBytes(24));
const plaintext = new Uint8Array(randomBytes(48));
const symmetric = new Uint8Array(randomBytes(32));
let recovery: Uint8Array;
let device: string;

/** A vault that does not open tells why, and nothing else. */
async function mustTellOnly(vault: LabVault, code: string, reason: RegExp): Promise<void> {
  expect(vault.said).toBe(`refused ${code}`);
  const { state, ready, reason: why = "" } = await vault.root.ask("status", {});
  expect({ state, ready }).toEqual({ state: code === "DESTROYED" ? "destroyed" : "refused", ready: false });
  expect(why).toMatch(reason);
  const user = vault.person({ uid: 1000 });
  expect(await user.codeOf("sign", { key: "taken", data: plaintext })).toBe(code);
  expect(await user.codeOf("key.list", {})).toBe(code);
  expect(await user.codeOf("key.show", { key: "taken" })).toBe(code);
  expect(await user.codeOf("random", { length: 16 })).toBe(code);
  expect(await vault.root.codeOf("journal.read", {})).toBe(code);
  expect(await vault.root.codeOf("thaw", {})).toBe(code);
  await vault.end();
}

describe("a vault's state, stolen", () => {
  beforeAll(async () => {
    const vault = await lab.vault();
    expect(vault.said, vault.stderr()).toBe("ready");
    device = (await vault.root.ask("status", {})).device;
    const user = vault.person({ uid: 1000 });
    const material = new Uint8Array(imported.export({ format: "der", type: "pkcs8" }));
    await user.ask("key.import", { name: "taken", material });
    await user.ask("key.import", { name: "raw", type: "aes256", material: symmetric.slice() });
    await user.ask("key.create", { name: "double", type: "p256", fixed: { ingredient: true }, ingredient });
    await user.ask("sign", { key: "double", data: plaintext, ingredient });
    await user.ask("encrypt", { key: "raw", plaintext: plaintext.slice() });
    await user.ask("key.create", { name: "silicon", type: "p256", protection: "resident" });
    await vault.end();
    lab.copy("state", "state-development");
    lab.copy("silicon", "silicon-development");

    const again = await lab.vault();
    const sealing = await again.root.ask("bind.seal", {});
    recovery = sealing.recovery?.slice() ?? new Uint8Array(0);
    expect(recovery.length).toBe(32);
    await again.root.ask("bind.confirm", { recovery: recovery.slice() });
    expect(await again.root.ask("bind.status", {})).toMatchObject({ stage: "sealed", opens: true });
    await again.end();
    lab.copy("state", "state-sealed");
    lab.copy("silicon", "silicon-sealed");
  });

  it("opens at home", async () => {
    const vault = await lab.vault();
    expect(vault.said, vault.stderr()).toBe("ready");
    const user = vault.person({ uid: 1000 });
    expect(await user.codeOf("sign", { key: "taken", data: plaintext })).toBe("done");
    expect(await user.codeOf("sign", { key: "silicon", data: plaintext })).toBe("done");
    await vault.end();
    lab.copy("state", "state-now");
    lab.copy("silicon", "silicon-now");
  });

  it("does not open before another secure element", async () => {
    lab.copy("state-now", "state-2");
    const vault = await lab.vault({ state: "state-2", silicon: "silicon-other" });
    await mustTellOnly(vault, "NOT_BOUND", /secure element/);
  });

  it("does not open on another host, even with its secure element", async () => {
    lab.copy("state-now", "state-3");
    lab.copy("silicon-now", "silicon-3");
    const vault = await lab.vault({ state: "state-3", silicon: "silicon-3", host: ELSEWHERE });
    await mustTellOnly(vault, "NOT_BOUND", /serial number of the processor.*CID of the boot medium/);
  });

  it("does not open with another card in the same board", async () => {
    lab.copy("state-now", "state-4");
    lab.copy("silicon-now", "silicon-4");
    const host = { ...HERE, cid: ELSEWHERE.cid };
    const vault = await lab.vault({ state: "state-4", silicon: "silicon-4", host });
    await mustTellOnly(vault, "NOT_BOUND", /CID of the boot medium/);
  });

  it("does not open on another host before another secure element", async () => {
    lab.copy("state-now", "state-5");
    const vault = await lab.vault({ state: "state-5", silicon: "silicon-other-2", host: ELSEWHERE });
    await mustTellOnly(vault, "NOT_BOUND", /secure element/);
  });

  it.each(["state-development", "state-sealed", "state-now"])("shows nothing of a secret in %s", (state) => {
    const secrets = { scalar, symmetric, ingredient, recovery, plaintext };
    expect(tracesOf(secrets, lab.path(state))).toEqual([]);
  });

  it("has a scan that finds what lies in the open", () => {
    // The names of keys and callers are no secrets of the journal, which is there to be read.
    expect(tracesOf({ word: bytesOf("~1000/taken") }, lab.path("state-now"))).not.toEqual([]);
  });

  it("from before the sealing opens neither elsewhere nor at home", async () => {
    for (const [name, host] of [["a", ELSEWHERE] as const, ["b", HERE] as const]) {
      lab.copy("state-development", `state-6${name}`);
      lab.copy("silicon-now", `silicon-6${name}`);
      const vault = await lab.vault({ state: `state-6${name}`, silicon: `silicon-6${name}`, host });
      await mustTellOnly(vault, "ROLLED_BACK", /old copy/);
    }
  });

  it("with the header from before the sealing opens nothing", async () => {
    const { DatabaseSync } = await import("node:sqlite");
    lab.copy("state-now", "state-7");
    lab.copy("silicon-now", "silicon-7");
    const old = new DatabaseSync(`${lab.path("state-development")}/vault.db`);
    const header = old.prepare("select value from meta where name = 'header'").get()?.value as Uint8Array;
    old.close();
    const sealed = new DatabaseSync(`${lab.path("state-7")}/vault.db`);
    sealed.prepare("update meta set value = ? where name = 'header'").run(header);
    sealed.close();
    const vault = await lab.vault({ state: "state-7", silicon: "silicon-7", host: ELSEWHERE });
    expect(vault.said).toMatch(/^refused (STATE_DAMAGED|TAMPERED|NOT_BOUND)$/);
    expect(await vault.person({ uid: 1000 }).codeOf("sign", { key: "taken", data: plaintext })).not.toBe("done");
    await vault.end();
  });

  it("put back after a key was deleted is known as old", async () => {
    lab.copy("state-now", "state-8");
    lab.copy("silicon-now", "silicon-8");
    const wishes = { state: "state-8", silicon: "silicon-8" };
    const vault = await lab.vault(wishes);
    await vault.person({ uid: 1000 }).ask("key.delete", { key: "taken" });
    await vault.end();
    const old = await lab.vault({ state: "state-now", silicon: "silicon-8" });
    await mustTellOnly(old, "ROLLED_BACK", /old copy/);
  });
});

describe("the owner's recovery key", () => {
  it("takes the vault to another host; a wrong one does not", async () => {
    lab.copy("state-sealed", "state-10");
    lab.copy("silicon-sealed", "silicon-10");
    const wishes = { state: "state-10", silicon: "silicon-10", host: ELSEWHERE };
    // Neither copy was opened since: the sealed state and its chip are of the same moment.
    const vault = await lab.vault(wishes);
    expect(vault.said).toBe("refused NOT_BOUND");
    const wrong = { recovery: new Uint8Array(randomBytes(32)) };
    expect(await vault.root.codeOf("bind.rebind", wrong)).toBe("NOT_PERMITTED");
    expect(await vault.root.codeOf("bind.undo", wrong)).toBe("NOT_PERMITTED");
    expect(await vault.person({ uid: 1000 }).codeOf("bind.rebind", { recovery: recovery.slice() })).toBe(
      "NOT_PERMITTED",
    );
    expect(await vault.person({ uid: 1000 }).codeOf("sign", { key: "taken", data: plaintext })).toBe("NOT_BOUND");
    expect(await vault.root.ask("bind.rebind", { recovery: recovery.slice() })).toMatchObject({ opens: true });
    expect(await vault.person({ uid: 1000 }).codeOf("sign", { key: "taken", data: plaintext })).toBe("done");
    await vault.end();
    const again = await lab.vault(wishes);
    expect(again.said, again.stderr()).toBe("ready");
    await again.end();
    const home = await lab.vault({ ...wishes, host: HERE });
    await mustTellOnly(home, "NOT_BOUND", /belongs to another host/);
  });

  it("undoes the sealing; a wrong one does not", async () => {
    lab.copy("state-now", "state-11");
    lab.copy("silicon-now", "silicon-11");
    const vault = await lab.vault({ state: "state-11", silicon: "silicon-11" });
    expect(await vault.root.codeOf("bind.undo", { recovery: new Uint8Array(32) })).toBe("NOT_PERMITTED");
    expect(await vault.person({ uid: 1000 }).codeOf("bind.undo", { recovery: recovery.slice() })).toBe("NOT_PERMITTED");
    expect(await vault.root.ask("bind.undo", { recovery: recovery.slice() })).toMatchObject({ stage: "development" });
    await vault.end();
    const elsewhere = await lab.vault({ state: "state-11", silicon: "silicon-11", host: ELSEWHERE });
    expect(elsewhere.said, elsewhere.stderr()).toBe("ready");
    await elsewhere.end();
  });
});

describe("a destroyed vault", () => {
  it("stays destroyed, and so does every copy of it", async () => {
    lab.copy("state-now", "state-12");
    lab.copy("silicon-now", "silicon-12");
    const wishes = { state: "state-12", silicon: "silicon-12" };
    const vault = await lab.vault(wishes);
    const user = vault.person({ uid: 1000 });
    expect(await user.codeOf("destroy", { device })).toBe("NOT_PERMITTED");
    expect(await vault.root.codeOf("destroy", { device: "0".repeat(32) })).toBe("USAGE");
    expect(await user.codeOf("sign", { key: "taken", data: plaintext })).toBe("done");
    const { destroyed } = await vault.root.ask("destroy", { device, reason: "the device is sold" });
    expect(destroyed).toContain("all wrapped keys");
    expect(await user.codeOf("sign", { key: "taken", data: plaintext })).toBe("DESTROYED");
    expect(await user.codeOf("sign", { key: "silicon", data: plaintext })).toBe("DESTROYED");
    await vault.end();
    for (const _ of [1, 2]) await mustTellOnly(await lab.vault(wishes), "DESTROYED", /the device is sold/);

    const old = await lab.vault({ state: "state-now", silicon: "silicon-12" });
    expect(old.said).toMatch(/^refused (NOT_BOUND|ROLLED_BACK)$/);
    expect(await old.person({ uid: 1000 }).codeOf("sign", { key: "taken", data: plaintext })).not.toBe("done");
    expect(await old.root.codeOf("bind.rebind", { recovery: recovery.slice() })).not.toBe("done");
    expect(await old.person({ uid: 1000 }).codeOf("sign", { key: "taken", data: plaintext })).not.toBe("done");
    await old.end();
  });
});
