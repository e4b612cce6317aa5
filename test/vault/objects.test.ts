/** Certificates and other objects in the vault: who sees them, who changes them, that they stay. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ObjectInfo } from "../../src/operations/objects.ts";
import { bytesOf, type LabVault, openLab, type Person } from "./lab.ts";

const lab = openLab();
let vault: LabVault;
let [ann, ben]: Person[] = [];
const people = () => ({ ann: ann as Person, ben: ben as Person });
const value = bytesOf("-----BEGIN CERTIFICATE-----");

async function start() {
  vault = await lab.vault();
  expect(vault.said, vault.stderr()).toBe("ready");
  [ann, ben] = [1000, 1001].map((uid) => vault.person({ uid }));
}
beforeAll(start);
afterAll(() => lab.close());

async function show(person: Person, object: string): Promise<ObjectInfo> {
  return (await person.ask("object.show", { object })).object;
}

async function namesSeenBy(person: Person): Promise<string[]> {
  return (await person.ask("object.list", {})).objects.map(({ name }) => name);
}

describe("an object", () => {
  it("is there for who made it, with all he said of it, and for nobody else", async () => {
    const { ann, ben } = people();
    const wish = {
      ...{ name: "tls", class: "certificate" as const, value, application: "nginx" },
      ...{ keyId: Uint8Array.of(1), attributes: Uint8Array.of(2) },
    };
    const { object } = await ann.ask("object.create", wish);
    expect(await show(ann, object.id)).toMatchObject({ ...wish, name: "~1000/tls", owner: 1000, mayManage: true });
    expect(await show(ann, "tls")).toMatchObject({ id: object.id });
    expect(await namesSeenBy(ben)).not.toContain("~1000/tls");
    for (const asked of [object.id, "~1000/tls"]) {
      expect(await ben.codeOf("object.show", { object: asked })).toBe("KEY_NOT_FOUND");
      expect(await ben.codeOf("object.change", { object: asked, value })).toBe("KEY_NOT_FOUND");
      expect(await ben.codeOf("object.delete", { object: asked })).toBe("KEY_NOT_FOUND");
    }
    expect(await ben.codeOf("object.create", { ...wish, name: "~1000/other" })).toBe("NOT_PERMITTED");
  });

  it("is seen by whoever has a right on its key, by those it names, and by all if it is public", async () => {
    const { ann, ben } = people();
    const policy = { allow: [{ who: "uid:1001", rights: ["use" as const] }] };
    await ann.ask("key.create", { name: "shared", type: "p256", policy });
    const wishes = [
      { name: "with-key", key: "shared" },
      { name: "named", allow: [{ who: "uid:1001", rights: ["observe" as const] }] },
      { name: "public", public: true },
    ];
    for (const wish of wishes) await ann.ask("object.create", { ...wish, class: "certificate", value });
    expect(await namesSeenBy(ben)).toEqual(expect.arrayContaining(wishes.map(({ name }) => `~1000/${name}`)));
    for (const { name } of wishes) {
      expect((await show(ben, name)).mayManage).toBe(false);
      expect(await ben.codeOf("object.change", { object: name, value })).toBe("NOT_PERMITTED");
      expect(await ben.codeOf("object.delete", { object: name })).toBe("NOT_PERMITTED");
    }
    await ann.ask("key.policy", { key: "shared", policy: { allow: [] } });
    expect(await ben.codeOf("object.show", { object: "with-key" })).toBe("KEY_NOT_FOUND");
    expect(await ben.codeOf("object.create", { name: "mine", class: "data", value, key: "~1000/shared" })).toBe(
      "KEY_NOT_FOUND",
    );
  });

  it("may have the name of another, or of a key, and is then asked for by its id", async () => {
    const { ann } = people();
    await ann.ask("key.create", { name: "twin", type: "p256" });
    const one = await ann.ask("object.create", { name: "twin", class: "data", value });
    const two = await ann.ask("object.create", { name: "twin", class: "data", value: bytesOf("2") });
    expect(await ann.codeOf("object.show", { object: "twin" })).toBe("USAGE");
    expect((await show(ann, two.object.id)).value).toEqual(bytesOf("2"));
    expect(await ann.codeOf("key.show", { key: one.object.id })).toBe("KEY_NOT_FOUND");
    const { key } = await ann.ask("key.show", { key: "twin" });
    expect(await ann.codeOf("object.show", { object: key.id })).toBe("KEY_NOT_FOUND");
  });

  it("keeps what is not named in a change, and is gone once it is deleted", async () => {
    const { ann } = people();
    const { object } = await ann.ask("object.create", { name: "old", class: "data", value, application: "app" });
    const changed = await ann.ask("object.change", { object: object.id, name: "new", value: bytesOf("other") });
    expect(changed.object.revision).toBeGreaterThan(object.revision);
    expect(await show(ann, "new")).toMatchObject({ value: bytesOf("other"), application: "app", class: "data" });
    expect(await ann.codeOf("object.show", { object: "old" })).toBe("KEY_NOT_FOUND");
    await ann.ask("object.delete", { object: "new" });
    expect(await ann.codeOf("object.show", { object: object.id })).toBe("KEY_NOT_FOUND");
  });

  it("outlives the vault's process, and a new master key", async () => {
    const { ann } = people();
    await ann.ask("object.create", { name: "kept", class: "certificate", value });
    const { recovery } = await vault.root.ask("bind.seal", {});
    await vault.root.ask("bind.confirm", { recovery: recovery as Uint8Array });
    await vault.end("SIGKILL");
    await start();
    expect(await show(people().ann, "kept")).toMatchObject({ value, mayManage: true });
  });
});

describe("a key", () => {
  it("gets another name, and keeps notes of a front", async () => {
    const { ann, ben } = people();
    const { key } = await ann.ask("key.create", { name: "before", type: "p256" });
    const renamed = await ann.ask("key.rename", { key: "before", name: "after" });
    expect(renamed.key).toMatchObject({ id: key.id, name: "~1000/after" });
    expect(await ann.codeOf("key.show", { key: "before" })).toBe("KEY_NOT_FOUND");
    expect(await ann.codeOf("sign", { key: "after", data: value })).toBe("done");
    await ann.ask("key.create", { name: "taken", type: "p256" });
    expect(await ann.codeOf("key.rename", { key: "after", name: "taken" })).toBe("KEY_EXISTS");
    expect(await ann.codeOf("key.rename", { key: "after", name: "~1001/after" })).toBe("USAGE");
    expect(await ben.codeOf("key.rename", { key: key.id, name: "his" })).toBe("KEY_NOT_FOUND");
    const noted = await ann.ask("key.note", { key: "after", notes: Uint8Array.of(7) });
    expect(noted.key.revision).toBeGreaterThan(renamed.key.revision);
    expect((await ann.ask("key.show", { key: "after" })).key.notes).toEqual(Uint8Array.of(7));
  });
});
