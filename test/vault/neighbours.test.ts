/** Several users before one vault: nobody gets what policy does not give him, and every line of a policy holds. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FixedPolicy, Grant, Policy } from "../../src/operations/policy.ts";
import type { OperationName } from "../../src/operations/table.ts";
import { bytesOf, HERE, type LabVault, openLab, type Person } from "./lab.ts";

const lab = openLab();
let vault: LabVault;
let [ann, ben, eve]: Person[] = [];
afterAll(() => lab.close());

const data = bytesOf("a message");
const now = () => Math.floor(Date.now() / 1000);
let last = 0;
const fresh = (word = "key") => `${word}${++last}`;

beforeAll(async () => {
  vault = await lab.vault();
  expect(vault.said, vault.stderr()).toBe("ready");
  [ann, ben, eve] = [1000, 1001, 1002].map((uid) => vault.person({ uid }));
});

const people = () => ({ ann: ann as Person, ben: ben as Person, eve: eve as Person });

async function annsKey(fixed: FixedPolicy = {}, policy: Policy = {}, type = "p256" as const): Promise<string> {
  const name = fresh();
  const { key } = await people().ann.ask("key.create", { name, type, fixed, policy });
  return key.name;
}

interface Line {
  readonly kind: string;
  readonly text: string;
  readonly sequence: number;
  readonly key?: { readonly name: string };
}

/** Every line somebody may see. */
async function journalFor(person: Person): Promise<Line[]> {
  const all: Line[] = [];
  for (let after = 0; ; ) {
    const { lines, more } = await person.ask("journal.read", { after, limit: 1000 });
    all.push(...lines.map((line) => JSON.parse(line) as Line));
    after = all.at(-1)?.sequence ?? after;
    if (!more || lines.length === 0) return all;
  }
}

describe("a neighbour", () => {
  it.each<[OperationName, (key: string) => unknown]>([
    ["key.show", (key) => ({ key })],
    ["key.public", (key) => ({ key })],
    ["key.policy", (key) => ({ key, policy: { allow: [{ who: "uid:1002", rights: ["use"] }] } })],
    ["key.delete", (key) => ({ key })],
    ["sign", (key) => ({ key, data })],
    ["verify", (key) => ({ key, data, signature: new Uint8Array(64) })],
    ["agree", (key) => ({ key, peer: new Uint8Array(91) })],
    ["derive", (key) => ({ key, peer: new Uint8Array(91), into: { name: "into", type: "aes256" } })],
    ["encrypt", (key) => ({ key, plaintext: data.slice() })],
    ["decrypt", (key) => ({ key, ciphertext: data })],
    ["mac", (key) => ({ key, data })],
    ["wrap", (key) => ({ key, target: key })],
    ["unwrap", (key) => ({ key, wrapped: data, into: { name: "into", type: "aes256" } })],
    ["storage.open", (key) => ({ key, stanzas: [] })],
  ])("cannot tell with %s whether a key is there", async (operation, args) => {
    const { ann, eve } = people();
    const name = await annsKey();
    const { key } = await ann.ask("key.show", { key: name });
    for (const asked of [name, key.id]) {
      expect(await eve.codeOf(operation, args(asked) as never)).toBe("KEY_NOT_FOUND");
    }
    expect(await ann.codeOf("sign", { key: name, data })).toBe("done");
  });

  it("sees none of them in a list, and nothing of them in the journal", async () => {
    const { eve } = people();
    const name = await annsKey();
    const { keys } = await eve.ask("key.list", {});
    expect(keys.filter((key) => key.owner !== 1002 && key.name.startsWith("~1000/"))).toEqual([]);
    const { lines } = await eve.ask("journal.read", {});
    expect(lines.filter((line) => line.includes(name))).toEqual([]);
  });

  it("makes no key in another's name", async () => {
    const { eve } = people();
    expect(await eve.codeOf("key.create", { name: "~1000/mine", type: "p256" })).toBe("NOT_PERMITTED");
  });

  it("has his own key of the same name", async () => {
    const { ann, ben } = people();
    await ann.ask("key.create", { name: "same", type: "p256" });
    await ben.ask("key.create", { name: "same", type: "p256" });
    const [hers, his] = [await ann.ask("key.public", { key: "same" }), await ben.ask("key.public", { key: "same" })];
    expect(hers.publicKey).not.toEqual(his.publicKey);
  });

  it.each<[OperationName, unknown]>([
    ["freeze", {}],
    ["thaw", {}],
    ["destroy", { device: "0".repeat(32) }],
    ["boot.complete", {}],
    ["device.change", { administrators: ["uid:1002"] }],
    ["namespace.create", { name: "eve", administrators: ["uid:1002"] }],
    ["namespace.delete", { name: "eve" }],
    ["bind.now", {}],
    ["bind.seal", {}],
    ["bind.confirm", { recovery: new Uint8Array(32) }],
    ["bind.undo", { recovery: new Uint8Array(32) }],
    ["bind.rebind", { recovery: new Uint8Array(32) }],
    ["journal.checkpoint", {}],
    ["figures", {}],
    ["device.policy", {}],
    ["bind.status", {}],
  ])("may not %s", async (operation, args) => {
    expect(await people().eve.codeOf(operation, args as never)).toBe("NOT_PERMITTED");
  });
});

describe("a refusal", () => {
  it("is in the journal once, for the owner of the key and for auditors", async () => {
    const { ann, ben, eve } = people();
    const name = await annsKey({}, { allow: [{ who: "uid:1001", rights: ["observe"] }] });
    for (let time = 0; time < 20; time++) expect(await ben.codeOf("sign", { key: name, data })).toBe("NOT_PERMITTED");
    expect(await eve.codeOf("sign", { key: name, data })).toBe("KEY_NOT_FOUND");
    expect(await eve.codeOf("sign", { key: "nothing-like-it", data })).toBe("KEY_NOT_FOUND");
    expect(await eve.codeOf("freeze", {})).toBe("NOT_PERMITTED");
    const refusals = async (person: Person) =>
      (await journalFor(person)).filter(
        ({ kind, text }) => kind === "refused" && (text.includes(name) || text.includes("freeze")),
      );
    const seen = (lines: Awaited<ReturnType<typeof refusals>>) => lines.map(({ text }) => text).sort();
    // They are written after the answer has left.
    await expect
      .poll(async () => seen(await refusals(ann)), { timeout: 30_000 })
      .toEqual([`uid 1001 was refused 'sign' on key ${name}`, `uid 1002 was refused 'sign' on key ${name}`]);
    expect(seen(await refusals(vault.root))).toContain("uid 1002 was refused 'freeze'");
    expect(await refusals(eve)).toEqual([]);
  });
});

describe("root", () => {
  it("manages a user's key and does not use it", async () => {
    const name = await annsKey();
    expect(await vault.root.codeOf("key.show", { key: name })).toBe("done");
    expect(await vault.root.codeOf("sign", { key: name, data })).toBe("NOT_PERMITTED");
    expect(await vault.root.codeOf("key.delete", { key: name })).toBe("done");
    expect(await people().ann.codeOf("sign", { key: name, data })).toBe("KEY_NOT_FOUND");
  });

  it("does not take out a key it may not use, wrapped under one of its own", async () => {
    const name = await annsKey({ export: "wrapped" });
    const own = fresh("root");
    const allow: Grant[] = [{ who: "uid:0", rights: ["use"] }];
    await vault.root.ask("key.create", { name: own, type: "aes256", policy: { allow } });
    expect(await vault.root.codeOf("wrap", { key: own, target: name })).toBe("NOT_PERMITTED");
  });
});

describe("a grant", () => {
  const hash = "ab".repeat(32);
  const other = { uid: 1005, gid: 1005, program: "/usr/bin/app" };
  it.each<[string, Parameters<LabVault["person"]>, Parameters<LabVault["person"]>]>([
    ["uid:1001", [{ uid: 1001 }], [other]],
    ["gid:33", [{ ...other, gid: 33 }], [other]],
    ["gid:33", [{ ...other, groups: [7, 33] }], [{ ...other, groups: [3] }]],
    [
      "program:/usr/sbin/nginx",
      [{ ...other, program: "/usr/sbin/nginx" }],
      [{ ...other, program: "/usr/sbin/nginx2" }],
    ],
    ["unit:nginx.service", [{ ...other, unit: "nginx.service" }], [other]],
    ["front:pkcs11", [{ ...other, front: "pkcs11" }], [{ ...other, front: "http" }]],
    [`program-sha256:${hash}`, [other, hash], [other, "cd".repeat(32)]],
    [`program-sha256:${hash}`, [other, hash], [other]],
    ["uid:1005+unit:a.service", [{ ...other, unit: "a.service" }], [{ uid: 1006, unit: "a.service" }]],
    ["uid:1005+unit:a.service", [{ ...other, unit: "a.service" }], [other]],
  ])("to %s is for him alone", async (who, his, others) => {
    const name = await annsKey({}, { allow: [{ who, rights: ["use"] }] });
    const [given, without] = [vault.person(...his), vault.person(...others)];
    expect(await given.codeOf("sign", { key: name, data })).toBe("done");
    expect(await given.codeOf("key.public", { key: name })).toBe("done");
    expect(await given.codeOf("key.delete", { key: name })).toBe("NOT_PERMITTED");
    expect(await given.codeOf("key.policy", { key: name, policy: {} })).toBe("NOT_PERMITTED");
    expect(await without.codeOf("sign", { key: name, data })).toBe("KEY_NOT_FOUND");
  });

  it("that is taken away is gone at once", async () => {
    const { ann, ben } = people();
    const name = await annsKey({}, { allow: [{ who: "uid:1001", rights: ["use"] }] });
    expect(await ben.codeOf("sign", { key: name, data })).toBe("done");
    await ann.ask("key.policy", { key: name, policy: { allow: [] } });
    expect(await ben.codeOf("sign", { key: name, data })).toBe("KEY_NOT_FOUND");
  });
});

describe("a namespace", () => {
  it("is its administrators', and not the device's", async () => {
    const { ann, ben, eve } = people();
    await vault.root.ask("namespace.create", { name: "acme", administrators: ["uid:1001"], keysAtMost: 2 });
    expect(await vault.root.codeOf("key.create", { name: "acme/root", type: "p256" })).toBe("NOT_PERMITTED");
    expect(await eve.codeOf("key.create", { name: "acme/eve", type: "p256" })).toBe("NOT_PERMITTED");
    const allow: Grant[] = [{ who: "uid:1000", rights: ["use"] }];
    await ben.ask("key.create", { name: "acme/tls", type: "p256", policy: { allow } });
    expect(await ann.codeOf("sign", { key: "acme/tls", data })).toBe("done");
    for (const stranger of [vault.root, eve]) {
      expect(await stranger.codeOf("key.show", { key: "acme/tls" })).toBe("KEY_NOT_FOUND");
      expect(await stranger.codeOf("key.delete", { key: "acme/tls" })).toBe("KEY_NOT_FOUND");
      expect(await stranger.codeOf("key.policy", { key: "acme/tls", policy: {} })).toBe("KEY_NOT_FOUND");
      expect((await stranger.ask("key.list", { namespace: "acme" })).keys).toEqual([]);
    }
    expect(await vault.root.codeOf("namespace.delete", { name: "acme" })).toBe("FAILED");
    expect(await ben.codeOf("key.create", { name: "acme/second", type: "p256" })).toBe("done");
    expect(await ben.codeOf("key.create", { name: "acme/third", type: "p256" })).toBe("LIMIT_REACHED");
    expect((await ann.ask("namespace.list", {})).namespaces).toEqual([]);
    expect((await ben.ask("namespace.list", {})).namespaces).toHaveLength(1);
  });
});

describe("a user", () => {
  it("has so many keys and no more", async () => {
    await vault.root.ask("device.change", { keysPerOwner: 2 });
    const fay = vault.person({ uid: 1010 });
    const make = () => fay.codeOf("key.create", { name: fresh(), type: "ed25519" });
    expect([await make(), await make(), await make()]).toEqual(["done", "done", "LIMIT_REACHED"]);
    await vault.root.ask("device.change", { keysPerOwner: 1000 });
  });

  it("makes none when he is no creator", async () => {
    await vault.root.ask("device.change", { creators: ["uid:1000"] });
    expect(await people().eve.codeOf("key.create", { name: fresh(), type: "p256" })).toBe("NOT_PERMITTED");
    await vault.root.ask("device.change", { creators: ["any"] });
  });
});

describe("what is fixed when a key is made", () => {
  const other = (name: string, operation: "sign" | "verify", extra: object = {}) =>
    people().ann.codeOf(operation, {
      key: name,
      data,
      ...(operation === "verify" && { signature: new Uint8Array(64) }),
      ...extra,
    } as never);

  it("purposes", async () => {
    const name = await annsKey({ uses: ["sign"] });
    expect(await other(name, "sign")).toBe("done");
    expect(await other(name, "verify")).toBe("NOT_PERMITTED");
    const { publicKey: peer } = await people().ann.ask("key.public", { key: name });
    expect(await people().ann.codeOf("agree", { key: name, peer })).toBe("NOT_PERMITTED");
  });

  it("algorithms and digests", async () => {
    const { ann } = people();
    const name = fresh();
    const fixed: FixedPolicy = { algorithms: ["rsa-pss"], digests: ["sha384"] };
    await ann.ask("key.create", { name, type: "rsa2048", fixed });
    const sign = (algorithm: "rsa-pss" | "rsa-pkcs1", digest: "sha256" | "sha384") =>
      ann.codeOf("sign", { key: name, data, algorithm, digest });
    expect(await sign("rsa-pss", "sha384")).toBe("done");
    expect(await sign("rsa-pkcs1", "sha384")).toBe("NOT_PERMITTED");
    expect(await sign("rsa-pss", "sha256")).toBe("NOT_PERMITTED");
    expect(await ann.codeOf("encrypt", { key: name, plaintext: data.slice() })).toBe("NOT_PERMITTED");
  });

  it("not before, make until, check until", async () => {
    const early = await annsKey({ notBefore: now() + 3600 });
    expect([await other(early, "sign"), await other(early, "verify")]).toEqual(["NOT_PERMITTED", "NOT_PERMITTED"]);
    const making = await annsKey({ makeUntil: now() - 10 });
    expect([await other(making, "sign"), await other(making, "verify")]).toEqual(["NOT_PERMITTED", "done"]);
    const over = await annsKey({ makeUntil: now() - 20, checkUntil: now() - 10 });
    expect([await other(over, "sign"), await other(over, "verify")]).toEqual(["NOT_PERMITTED", "NOT_PERMITTED"]);
    const valid = await annsKey({ notBefore: now() - 10, makeUntil: now() + 3600, checkUntil: now() + 3600 });
    expect([await other(valid, "sign"), await other(valid, "verify")]).toEqual(["done", "done"]);
  });

  it.each(["wrapped", "resident"] as const)("uses at most, of a %s key", async (protection) => {
    const { ann } = people();
    const name = fresh();
    await ann.ask("key.create", { name, type: "p256", protection, fixed: { maximumUses: 3 } });
    const signing = await Promise.all(Array.from({ length: 8 }, () => other(name, "sign")));
    expect(signing.filter((code) => code === "done")).toHaveLength(3);
    expect(new Set(signing)).toEqual(new Set(["done", "NOT_PERMITTED"]));
    expect(await other(name, "sign")).toBe("NOT_PERMITTED");
  });

  it("an ingredient", async () => {
    const { ann } = people();
    const ingredient = new Uint8Array(randomBytes(20));
    const name = fresh();
    await ann.ask("key.create", { name, type: "p256", fixed: { ingredient: true }, ingredient });
    expect(await other(name, "sign", { ingredient })).toBe("done");
    expect(await other(name, "sign")).toBe("NOT_PERMITTED");
    expect(await other(name, "sign", { ingredient: new Uint8Array(20) })).toBe("NOT_PERMITTED");
  });

  it("leaving", async () => {
    const { ann } = people();
    const [stays, leaves, under] = [await annsKey(), await annsKey({ export: "wrapped" }), fresh()];
    await ann.ask("key.create", { name: under, type: "aes256" });
    expect(await ann.codeOf("wrap", { key: under, target: stays })).toBe("NOT_PERMITTED");
    expect(await ann.codeOf("wrap", { key: under, target: leaves })).toBe("done");
  });

  it("seconds between uses", async () => {
    const name = await annsKey({ minimumSecondsBetweenUses: 3600 });
    expect([await other(name, "sign"), await other(name, "sign")]).toEqual(["done", "NOT_PERMITTED"]);
  });
});

describe("what can be changed of a key", () => {
  it("its rate", async () => {
    const { ann } = people();
    const name = await annsKey({}, { rate: { uses: 2, seconds: 86_400 } });
    const codes = [];
    for (let i = 0; i < 3; i++) codes.push(await ann.codeOf("sign", { key: name, data }));
    expect(codes).toEqual(["done", "done", "LIMIT_REACHED"]);
    await ann.ask("key.policy", { key: name, policy: {}, remove: ["rate"] });
    expect(await ann.codeOf("sign", { key: name, data })).toBe("done");
  });

  it("that an owner confirms", async () => {
    const { ann, ben, eve } = people();
    const name = await annsKey({}, { confirm: true, allow: [{ who: "uid:1001", rights: ["use"] }] });
    for (const [approve, code] of [[true, "done"] as const, [false, "NOT_PERMITTED"] as const]) {
      const use = ben.codeOf("sign", { key: name, data });
      await expect.poll(async () => (await ann.ask("confirm.list", {})).waiting.length, { timeout: 30_000 }).toBe(1);
      const id = (await ann.ask("confirm.list", {})).waiting[0]?.id ?? 0;
      for (const stranger of [ben, eve]) {
        expect((await stranger.ask("confirm.list", {})).waiting).toEqual([]);
        expect(await stranger.codeOf("confirm.answer", { id, approve: true })).toBe("KEY_NOT_FOUND");
      }
      await ann.ask("confirm.answer", { id, approve });
      expect(await use).toBe(code);
    }
  });

  it("that every use is written down", async () => {
    const { ann } = people();
    const name = await annsKey({}, { recordUses: true });
    await ann.ask("sign", { key: name, data });
    const lines = await journalFor(ann);
    expect(lines.filter(({ kind, key }) => kind === "key.used" && key?.name === name)).toHaveLength(1);
  });
});

describe("a frozen vault", () => {
  it("gives nothing out, to nobody, until an administrator thaws it", async () => {
    const { ann } = people();
    const name = await annsKey();
    const box = fresh();
    await ann.ask("key.create", { name: box, type: "aes256" });
    await vault.root.ask("freeze", { reason: "somebody opened the case" });
    expect(await ann.codeOf("sign", { key: name, data })).toBe("FROZEN");
    expect(await ann.codeOf("encrypt", { key: box, plaintext: data.slice() })).toBe("FROZEN");
    expect(await ann.codeOf("decrypt", { key: box, ciphertext: data })).toBe("FROZEN");
    expect(await ann.codeOf("random", { length: 8 })).toBe("FROZEN");
    expect(await ann.codeOf("key.create", { name: fresh(), type: "p256" })).toBe("FROZEN");
    expect(await ann.codeOf("thaw", {})).toBe("NOT_PERMITTED");
    expect(await ann.ask("status", {})).toMatchObject({ state: "frozen", reason: "somebody opened the case" });
    await vault.root.ask("thaw", {});
    expect(await ann.codeOf("sign", { key: name, data })).toBe("done");
  });
});

describe("starts of the vault and of the device", () => {
  it("bring no use back that is spent, and those of a new boot", async () => {
    const { ann } = people();
    const [spent, each, early] = [
      await annsKey({ maximumUses: 1 }),
      await annsKey({ maximumUsesPerBoot: 1 }),
      await annsKey({ earlyBootOnly: true }),
    ];
    const codes = async (who: Person) => {
      const all = [];
      for (const key of [spent, each, early]) all.push(await who.codeOf("sign", { key, data }));
      return all;
    };
    const refused = "NOT_PERMITTED";
    expect(await codes(ann)).toEqual(["done", "done", "done"]);
    await vault.root.ask("boot.complete", {});
    expect(await codes(ann)).toEqual([refused, refused, refused]);
    await vault.end("SIGKILL");
    vault = await lab.vault();
    expect(vault.said, vault.stderr()).toBe("ready");
    expect(await codes(vault.person({ uid: 1000 }))).toEqual([refused, refused, refused]);
    await vault.end();
    vault = await lab.vault({ host: { ...HERE, boot: "99999999-2222-3333-4444-555555555555" } });
    expect(await codes(vault.person({ uid: 1000 }))).toEqual([refused, "done", "done"]);
    await vault.end();
    vault = await lab.vault({ host: { ...HERE, boot: "88888888-2222-3333-4444-555555555555", uptime: 4000 } });
    expect(await codes(vault.person({ uid: 1000 }))).toEqual([refused, "done", refused]);
  });
});
