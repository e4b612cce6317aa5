/** A damaged state: what is left of it comes back, what is lost is named, and what was deleted stays deleted. */
import { spawnSync } from "node:child_process";
import { createHash, createPublicKey } from "node:crypto";
import { existsSync, globSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RepairReport } from "../../src/operations/repair-report.ts";
import type { KeyInfo } from "../../src/operations/table.ts";
import { campaign } from "./damage.ts";
import { storedPaper, storePaper } from "./repair-child.ts";
import {
  ask,
  codeOf,
  database,
  digestOf,
  furnish,
  mustBeChained,
  open,
  openRepairLab,
  type Place,
  repair,
  useOf,
} from "./repair-lab.ts";

const lab = openRepairLab();
const origin = lab.place("origin");
let keys: readonly KeyInfo[];
let number = 0;

beforeAll(async () => {
  keys = await furnish(origin);
});
afterAll(() => lab.close());

const fresh = (): Place => lab.copy(origin, `copy-${++number}`);
const keyOf = (name: string): KeyInfo => keys.find((key) => key.name === name) as KeyInfo;
const idOf = (name: string): Buffer => Buffer.from(keyOf(name).id, "hex");

/** Somebody at the database with SQLite in his hands. */
function sql(
  place: Place,
  ...statements: readonly (readonly [string, ...(string | number | Uint8Array | null)[]])[]
): void {
  const opened = new DatabaseSync(database(place));
  // As the vault has it: what is overwritten is nowhere any more.
  opened.exec("pragma secure_delete = on");
  for (const [text, ...values] of statements) opened.prepare(text).run(...values);
  opened.close();
}

function rows(
  place: Place,
  text: string,
  ...values: (string | Uint8Array)[]
): Record<string, string | number | Uint8Array | null>[] {
  const opened = new DatabaseSync(database(place));
  const found = opened.prepare(text).all(...values) as never;
  opened.close();
  return found;
}

const ruin = (name: string) => ["update records set sealed = zeroblob(60) where id = ?", idOf(name)] as const;
const entryOf = (place: Place, kind: string, text: string): number =>
  Number(rows(place, `select sequence from journal where line like '%"kind":"${kind}"%${text}%'`)[0]?.sequence);

function outcomesOf(report: RepairReport): { readonly [name: string]: string } {
  return Object.fromEntries(report.keys.map(({ name, outcome }) => [name, outcome]));
}

/** Opens it, looks at every key, and at the journal. */
async function usesIn(place: Place): Promise<{ readonly [name: string]: string }> {
  const vault = await open(place);
  const uses: { [name: string]: string } = {};
  for (const key of keys) uses[key.name] = await useOf(vault, key);
  uses["~1000/gone"] = await codeOf(ask(vault, 1000, "key.show", { key: "gone" }));
  await vault.close();
  mustBeChained(place);
  return uses;
}

const ALL_SIGN = {
  "~1000/k0": "signs",
  "~1001/k1": "signs",
  "~1000/k2": "signs",
  "acme/shared": "signs",
  "~1000/silicon": "signs",
  "~1000/twice": "signs",
  "~1000/slowly": "signs",
  "~1000/gone": "KEY_NOT_FOUND",
};

/** When the sum does not come out, counts that nobody wrote down are as high as they may be. */
const SIGN_CAREFULLY = { ...ALL_SIGN, "~1000/slowly": "NOT_PERMITTED" };

describe("a state that is whole", () => {
  it("is left as it is", async () => {
    const place = fresh();
    const before = digestOf(database(place));
    const report = await repair(place);
    expect(report).toMatchObject({ problems: [], repaired: false, unknown: 0 });
    expect(digestOf(database(place))).toBe(before);
    expect(globSync("damaged-*", { cwd: place.folder })).toEqual([]);
    expect(await usesIn(place)).toMatchObject(ALL_SIGN);
  });

  it("is not touched while a vault has it open", async () => {
    const place = fresh();
    const vault = await open(place);
    await expect(repair(place)).rejects.toMatchObject({ code: "FAILED", message: expect.stringContaining("in use") });
    await vault.close();
  });

  it("after a kill is whole with what is in its log", async () => {
    const running = fresh();
    const vault = await open(running);
    await ask(vault, 1000, "key.create", { name: "late", type: "p256" });
    const killed = lab.copy(running, `copy-${++number}`);
    await vault.close();
    expect(statSync(`${database(killed)}-wal`).size).toBeGreaterThan(0);
    expect(await repair(killed)).toMatchObject({ problems: [] });
  });
});

describe("a damaged state", () => {
  it("with bits flipped all over is usable after a repair, and nothing deleted comes back", async () => {
    expect(await campaign(45, 20_26)).toMatchObject({ runs: 45 });
  });

  it.each([0, 4096, 9000, 20_480, 40_960, 57_344, 70_000])(
    "cut off after %d bytes opens after a repair",
    async (size) => {
      const place = fresh();
      truncateSync(database(place), size);
      const refused = await codeOf(repair(place));
      // Without any head nobody can tell how new it is.
      const options = { acceptRollback: refused === "ROLLED_BACK" };
      const report = refused === "ROLLED_BACK" ? await repair(place, options) : undefined;
      if (report !== undefined) expect(report.repaired).toBe(true);
      const uses = await usesIn(place);
      expect(uses["~1000/gone"]).toBe("KEY_NOT_FOUND");
      expect(uses["~1000/silicon"]).toMatch(/signs|KEY_NOT_FOUND|NOT_PERMITTED/);
    },
  );

  it("keeps every key when only its structure is damaged", async () => {
    const place = fresh();
    const bytes = readFileSync(database(place));
    bytes.fill(0xff, 0, 100); // nothing SQLite would open
    writeFileSync(database(place), bytes);
    expect(await codeOf(open(place))).toBe("STATE_DAMAGED");
    expect(await repair(place)).toMatchObject({ repaired: true, unknown: 0 });
    expect(await usesIn(place)).toMatchObject(ALL_SIGN);
  });

  it("keeps what was there before, and writes the repair into the journal", async () => {
    const place = fresh();
    sql(place, ruin("~1000/k2"));
    const before = digestOf(database(place));
    const { folder = "", device } = await repair(place);
    expect(digestOf(join(folder, "vault.db"))).toBe(before);
    const [pem = ""] = globSync("*k2*.pem", { cwd: folder });
    const lost = createPublicKey(readFileSync(join(folder, pem))).export({ format: "der", type: "spki" });
    expect(new Uint8Array(lost)).toEqual(keyOf("~1000/k2").publicKey);
    const last = mustBeChained(place).map(
      (line) => JSON.parse(line) as { kind: string; text: string; lostKeys?: string[] },
    );
    expect(last.find(({ kind }) => kind === "vault.repaired")).toMatchObject({ lostKeys: ["~1000/k2"] });
    expect(last.find(({ kind }) => kind === "key.lost")?.text).toContain("~1000/k2");
    expect(device).toMatch(/^[0-9a-f]{32}$/);
    expect(await usesIn(place)).toMatchObject({ ...SIGN_CAREFULLY, "~1000/k2": "KEY_NOT_FOUND" });
  });

  it("shows what it would do, and does nothing", async () => {
    const place = fresh();
    sql(place, ruin("~1000/k2"));
    const before = digestOf(database(place));
    const report = await repair(place, { dryRun: true });
    expect(report).toMatchObject({ repaired: false });
    expect(outcomesOf(report)).toMatchObject({ "~1000/k2": "lost", "~1000/k0": "intact" });
    expect(digestOf(database(place))).toBe(before);
    expect(globSync("{damaged,vault.db.rep}*", { cwd: place.folder })).toEqual([]);
  });

  it("says which new state it is: a copy from before the repair is an old one", async () => {
    const place = fresh();
    sql(place, ruin("~1000/k2"));
    const old = lab.copy(place, `copy-${++number}`);
    await repair(place);
    expect(await codeOf(repair({ ...old, paper: place.paper }))).toBe("ROLLED_BACK");
  });
});

describe("the header", () => {
  it("is restored from its second copy, whichever of them is lost", async () => {
    const inDatabase = fresh();
    sql(inDatabase, ["delete from meta where name = 'header'"], ["delete from spare where name = 'header'"]);
    expect(await codeOf(open(inDatabase))).toBe("STATE_DAMAGED");
    expect(await repair(inDatabase)).toMatchObject({ repaired: true });
    expect(await usesIn(inDatabase)).toMatchObject(ALL_SIGN);
    const copy = fresh();
    writeFileSync(join(copy.folder, "header.copy"), "nonsense");
    expect(await repair(copy)).toMatchObject({ repaired: true });
    expect(await usesIn(copy)).toMatchObject(ALL_SIGN);
  });

  it("with a flipped bit is not the one that counts", async () => {
    const place = fresh();
    const header = rows(place, "select value from meta where name = 'header'")[0]?.value as Uint8Array;
    for (let bit = 0; bit < header.length * 8; bit += 149) {
      const flipped = header.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const damaged = lab.copy(place, `copy-${++number}`);
      sql(
        damaged,
        ["update meta set value = ? where name = 'header'", flipped],
        ["delete from spare where name = 'header'"],
      );
      const report = await repair(damaged);
      expect(report.problems, `bit ${bit}`).not.toEqual([]);
      await (await open(damaged)).close();
      rmSync(damaged.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    }
  });

  it("lost altogether opens nothing, and that is said", async () => {
    const place = fresh();
    sql(place, ["delete from meta"], ["delete from spare"]);
    rmSync(join(place.folder, "header.copy"));
    await expect(repair(place)).rejects.toMatchObject({
      code: "STATE_DAMAGED",
      message: expect.stringContaining("header"),
    });
  });
});

describe("the journal", () => {
  it("with a row lost is kept up to there; the keys are proved by the head, and the rest is put aside", async () => {
    const place = fresh();
    const whole = mustBeChained(place);
    sql(place, ["delete from journal where sequence = 9"]);
    const report = await repair(place);
    expect(report.journal).toEqual({ kept: 7, lost: { from: 8, to: whole.length }, aside: whole.length - 8 });
    expect(Object.values(outcomesOf(report))).toEqual(Object.values(outcomesOf(report)).map(() => "intact"));
    const now = mustBeChained(place);
    expect(now.slice(0, 7)).toEqual(whole.slice(0, 7));
    expect(JSON.parse(now[7] ?? "")).toMatchObject({
      kind: "vault.repaired",
      lostEntries: { from: 8, to: whole.length },
    });
    const aside = readFileSync(join(report.folder ?? "", "journal-aside.jsonl"), "utf8")
      .trimEnd()
      .split("\n");
    expect(aside.sort()).toEqual([whole[7], ...whole.slice(9)].sort());
    expect(await usesIn(place)).toMatchObject(ALL_SIGN);
  });

  it("torn together with a record: who counts uses stays out, who can be counted carefully waits, the rest has a note", async () => {
    const place = fresh();
    // Everything after the keys were made is lost of the journal, the head's sum does not come out.
    sql(place, ruin("~1000/k2"), ["delete from journal where sequence > 4"]);
    const looked = await repair(lab.copy(place, `copy-${++number}`), { dryRun: true, keep: ["~1000/twice"] });
    expect(outcomesOf(looked)["~1000/twice"]).toBe("careful");
    const strict = await repair(lab.copy(place, `copy-${++number}`), { dryRun: true, onlyProved: true });
    expect(outcomesOf(strict)["~1000/k0"]).toBe("left out");
    const report = await repair(place);
    expect(outcomesOf(report)).toMatchObject({
      "~1000/k0": "unproved",
      "~1000/k2": "lost",
      "~1000/twice": "left out",
      "~1000/slowly": "careful",
      "~1000/silicon": "unproved",
    });
    expect(await usesIn(place)).toMatchObject({
      ...ALL_SIGN,
      "~1000/k2": "KEY_NOT_FOUND",
      "~1000/twice": "KEY_NOT_FOUND",
      "~1000/slowly": "NOT_PERMITTED",
    });
  });
});

describe("objects", () => {
  it("are restored, named when they are lost, and do not come back when they were deleted", async () => {
    const place = fresh();
    const vault = await open(place);
    const value = new Uint8Array([1, 2, 3]);
    const make = async (name: string) =>
      (await ask(vault, 1000, "object.create", { name, class: "certificate", value })).object.id;
    const [kept, lost, removed] = [await make("kept"), await make("lost"), await make("removed")];
    const [old = {}] = rows(place, "select * from records where id = ?", Buffer.from(removed, "hex"));
    await ask(vault, 1000, "object.delete", { object: removed });
    await vault.close();
    sql(
      place,
      ["insert into records values (?, ?, ?, ?, ?, ?, ?)", ...(Object.values(old) as Uint8Array[])],
      ["delete from records where id = ?", Buffer.from(lost, "hex")],
    );
    const { settings } = await repair(place);
    expect(settings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: "certificate ~1000/kept", outcome: "intact" }),
        expect.objectContaining({ name: "certificate ~1000/lost", outcome: "lost" }),
        expect.objectContaining({ name: "certificate ~1000/removed", outcome: "left out" }),
      ]),
    );
    const repaired = await open(place);
    expect((await ask(repaired, 1000, "object.show", { object: kept })).object.value).toEqual(value);
    for (const object of [lost, removed]) {
      expect(await codeOf(ask(repaired, 1000, "object.show", { object }))).toBe("KEY_NOT_FOUND");
    }
    await repaired.close();
    expect(await codeOf(repair(place).then(({ problems }) => expect(problems).toEqual([])))).toBe("done");
  });
});

describe("a deleted key's old row", () => {
  let before: Place;
  let gone: Record<string, string | number | Uint8Array | null>;
  let summary: typeof gone;
  let now: Place;

  beforeAll(async () => {
    before = fresh();
    const id = idOf("~1000/k4");
    [gone = {}] = rows(before, "select * from records where id = ?", id);
    [summary = {}] = rows(before, "select * from summaries where id = ?", id);
    const vault = await open(before);
    await ask(vault, 1000, "key.delete", { key: "k4" });
    await ask(vault, 1001, "key.create", { name: "later", type: "p256" });
    await vault.close();
    now = before;
  });

  const putBack = (place: Place) =>
    sql(
      place,
      ["insert into records values (?, ?, ?, ?, ?, ?, ?)", ...(Object.values(gone) as Uint8Array[])],
      ["insert into summaries values (?, ?, ?)", ...(Object.values(summary) as Uint8Array[])],
    );

  it.each([
    ["alone", []],
    ["with its deletion taken out of the journal", ["journal"]],
    ["with another record ruined", ["record"]],
    ["with both", ["journal", "record"]],
    ["with the whole end of the journal gone", ["end"]],
  ])("written back %s does not come back", async (_, harm) => {
    const place = lab.copy(now, `copy-${++number}`);
    putBack(place);
    if (harm.includes("record")) sql(place, ruin("~1001/k1"));
    const deletion = entryOf(place, "key.deleted", "k4");
    if (harm.includes("journal")) sql(place, ["delete from journal where sequence = ?", deletion]);
    if (harm.includes("end")) sql(place, ["delete from journal where sequence >= ?", deletion]);
    expect(await codeOf(open(place))).toBe("STATE_DAMAGED");
    const report = await repair(place);
    expect(outcomesOf(report)["~1000/k4"]).toBe("left out");
    const vault = await open(place);
    expect(await useOf(vault, keyOf("~1000/k4"))).toBe("KEY_NOT_FOUND");
    await vault.close();
    // Nor after another damage and another repair.
    putBack(place);
    await repair(place);
    const again = await open(place);
    expect(await useOf(again, keyOf("~1000/k4"))).toBe("KEY_NOT_FOUND");
    await again.close();
  });

  it("nor beside a new key of its name", async () => {
    const place = fresh();
    const [first] = rows(place, "select * from records where id = ?", idOf("~1000/k4"));
    const [second] = rows(place, "select * from summaries where id = ?", idOf("~1000/k4"));
    const vault = await open(place);
    await ask(vault, 1000, "key.delete", { key: "k4" });
    const { key } = await ask(vault, 1000, "key.create", { name: "k4", type: "p256" });
    await ask(vault, 1000, "key.delete", { key: "silicon" });
    await ask(vault, 1000, "key.create", { name: "silicon", type: "ed25519" });
    await vault.close();
    const nameless = { ...first, full: null };
    sql(
      place,
      ["insert into records values (?, ?, ?, ?, ?, ?, ?)", ...(Object.values(nameless) as unknown as Uint8Array[])],
      ["insert into summaries values (?, ?, ?)", ...(Object.values(second ?? {}) as Uint8Array[])],
      ruin("~1001/k1"),
      ["delete from journal where line like '%key.deleted%'"],
    );
    const report = await repair(place, { keep: ["all"] });
    const of = (name: string) => report.keys.filter((one) => one.name === name).map(({ id, outcome }) => [id, outcome]);
    expect(of("~1000/k4")).toContainEqual([keyOf("~1000/k4").id, "left out"]);
    const again = await open(place);
    expect(await useOf(again, key)).toBe("signs");
    expect(await useOf(again, keyOf("~1000/k4"))).toBe("KEY_NOT_FOUND");
    await again.close();
    expect(await repair(place)).toMatchObject({ problems: [] });
  });

  it("nor an older form of a record, with a policy that was changed since", async () => {
    const place = fresh();
    const [old] = rows(place, "select * from records where id = ?", idOf("~1001/k1"));
    const vault = await open(place);
    await ask(vault, 1001, "key.policy", { key: "k1", policy: { rate: { uses: 1, seconds: 1000 } } });
    await vault.close();
    sql(place, [
      "insert or replace into records values (?, ?, ?, ?, ?, ?, ?)",
      ...(Object.values(old ?? {}) as Uint8Array[]),
    ]);
    const report = await repair(place);
    expect(report.keys.find(({ name }) => name === "~1001/k1")).toMatchObject({ outcome: "left out", why: /older/ });
    expect(await usesIn(place)).toMatchObject({ ...SIGN_CAREFULLY, "~1001/k1": "KEY_NOT_FOUND" });
  });

  it("nor a use that was spent", async () => {
    const place = fresh();
    const [old] = rows(place, "select * from records where id = ?", idOf("~1000/twice"));
    const vault = await open(place);
    expect(await useOf(vault, keyOf("~1000/twice"))).toBe("signs");
    expect(await useOf(vault, keyOf("~1000/twice"))).not.toBe("signs");
    await vault.close();
    sql(place, [
      "insert or replace into records values (?, ?, ?, ?, ?, ?, ?)",
      ...(Object.values(old ?? {}) as Uint8Array[]),
    ]);
    await repair(place, { keep: ["all"] });
    expect(await usesIn(place)).toMatchObject({ "~1000/twice": "KEY_NOT_FOUND" });
  });
});

describe("an old copy of a state", () => {
  let old: Place;
  beforeAll(async () => {
    const place = fresh();
    const copy = lab.copy(place, `copy-${++number}`);
    const vault = await open(place);
    await ask(vault, 1000, "key.delete", { key: "k4" });
    await ask(vault, 1000, "key.delete", { key: "silicon" });
    await vault.close();
    old = { ...copy, paper: place.paper };
  });

  it("is refused, whole or damaged", async () => {
    expect(await codeOf(repair(old))).toBe("ROLLED_BACK");
    const damaged = { ...lab.copy(old, `copy-${++number}`), paper: old.paper };
    sql(damaged, ruin("~1000/k2"), ["delete from meta where name = 'head'"], ["delete from spare where name = 'head'"]);
    expect(await codeOf(repair(damaged))).toBe("ROLLED_BACK");
  });

  it("accepted by its owner brings back what he names and what the root holds; nothing with limited uses", async () => {
    const place = lab.copy(old, `copy-${++number}`);
    const report = await repair(place, { acceptRollback: true, keep: ["~1000/k0", "~1000/twice"] });
    expect(outcomesOf(report)).toMatchObject({
      "~1000/k0": "unproved",
      "~1001/k1": "left out",
      "~1000/k4": "left out",
      "~1000/twice": "left out",
      // It was deleted since, and the root has another key in its place.
      "~1000/silicon": "left out",
    });
    expect(await usesIn(place)).toMatchObject({
      "~1000/k0": "signs",
      "~1001/k1": "KEY_NOT_FOUND",
      "~1000/k4": "KEY_NOT_FOUND",
      "~1000/twice": "KEY_NOT_FOUND",
      "~1000/silicon": "KEY_NOT_FOUND",
    });
    expect(mustBeChained(place).join("\n")).toContain("its owner accepted an old state");
    // And what was left out stays out.
    expect(await repair(place, { keep: ["all"] })).toMatchObject({ problems: [] });
  });

  it("of which the root knows less is the wrong root's, and nothing helps", async () => {
    const place = fresh();
    place.paper.counter -= 3;
    expect(await codeOf(repair(place, { acceptRollback: true }))).toBe("ROLLED_BACK");
  });

  it("without its log is one, when a counted change was in it", async () => {
    const running = fresh();
    const vault = await open(running);
    await ask(vault, 1000, "key.delete", { key: "k4" });
    const killed = lab.copy(running, `copy-${++number}`);
    await vault.close();
    rmSync(`${database(killed)}-wal`);
    rmSync(`${database(killed)}-shm`, { force: true });
    expect(await codeOf(repair(killed))).toBe("ROLLED_BACK");
  });
});

describe("a log with a flipped bit", () => {
  it("does not lose what was written after it", async () => {
    const running = fresh();
    const vault = await open(running);
    for (let i = 0; i < 8; i++) await ask(vault, 1000, "key.create", { name: `late${i}`, type: "p256" });
    const killed = lab.copy(running, `copy-${++number}`);
    await vault.close();
    const log = readFileSync(`${database(killed)}-wal`);
    // In the nonce of a page that is written anew by a later transaction: only the chain of checksums is broken.
    const frame = 4096 + 24;
    const at = 32 + 8 * frame + 24 + 3000;
    log[at] = (log[at] ?? 0) ^ 1;
    writeFileSync(`${database(killed)}-wal`, log);
    const report = await repair(killed);
    const back = await open(killed);
    const { keys: listed } = await ask(back, 1000, "key.list", { limit: 200 });
    await back.close();
    const there = listed.filter(({ name }) => name.startsWith("~1000/late")).length;
    const named = report.keys.filter(({ name, outcome }) => name.includes("late") && outcome === "lost").length;
    expect(there + named + report.unknown).toBeGreaterThanOrEqual(8);
    expect(await usesIn(killed)).toMatchObject(ALL_SIGN);
  });
});

describe("a key in the root", () => {
  it("whose record is lost stays known and cannot be used; its place is free once it is deleted", async () => {
    const place = fresh();
    sql(place, ruin("~1000/silicon"));
    const report = await repair(place);
    const { handle = "", ...outcome } = report.keys.find(({ name }) => name === "~1000/silicon") ?? {};
    expect(outcome).toMatchObject({ outcome: "disabled", protection: "resident" });
    const vault = await open(place);
    expect(await useOf(vault, keyOf("~1000/silicon"))).toBe("NOT_PERMITTED");
    const { publicKey } = await ask(vault, 1000, "key.public", { key: "silicon" });
    expect(publicKey).toEqual(keyOf("~1000/silicon").publicKey);
    const before = place.paper.slots.get(handle);
    for (const name of ["a", "b"]) {
      await ask(vault, 1000, "key.create", { name, type: "p256", protection: "resident" });
    }
    expect(place.paper.slots.get(handle)).toEqual(before);
    await ask(vault, 1000, "key.delete", { key: "silicon" });
    expect(place.paper.slots.get(handle)).not.toEqual(before);
    expect(await codeOf(ask(vault, 1000, "key.create", { name: "c", type: "p256", protection: "resident" }))).toBe(
      "done",
    );
    await vault.close();
  });

  it("that the journal says was deleted, and that is still there, is overwritten", async () => {
    const place = fresh();
    const vault = await open(place);
    place.paper.broken = "destroyKey";
    expect(await codeOf(ask(vault, 1000, "key.delete", { key: "silicon" }))).toBe("ROOT_UNAVAILABLE");
    place.paper.broken = undefined;
    const killed = { ...lab.copy(place, `copy-${++number}`), paper: place.paper };
    await vault.close();
    const log = `${database(killed)}-wal`;
    expect(existsSync(log)).toBe(true);
    sql(
      killed,
      ["delete from meta where name = 'head'"],
      ["update records set sealed = zeroblob(60) where id = ?", idOf("~1000/k2")],
    );
    const before = place.paper.slots.get("slot-9");
    await repair(killed);
    await (await open(killed)).close();
    expect(place.paper.slots.get("slot-9")).not.toEqual(before);
  });
});

describe("settings", () => {
  it("that are lost the journal tells again", async () => {
    const place = fresh();
    sql(place, ["update records set sealed = zeroblob(60) where kind in (2, 3)"]);
    const report = await repair(place);
    expect(report.settings.map(({ name, outcome }) => `${name}: ${outcome}`).sort()).toEqual([
      "namespace acme: rebuilt",
      "the device's policy: rebuilt",
    ]);
    const vault = await open(place);
    expect(await ask(vault, 0, "device.policy", {})).toMatchObject({ auditors: ["uid:7"] });
    expect((await ask(vault, 0, "namespace.list", {})).namespaces).toMatchObject([
      { name: "acme", administrators: ["uid:1000"] },
    ]);
    await vault.close();
    expect(await usesIn(place)).toMatchObject(SIGN_CAREFULLY);
  });
});

describe("a journal that somebody else wrote", () => {
  it("gives nobody rights, whatever it says and however well it hangs together", async () => {
    const place = fresh();
    const vault = await open(place);
    const { header } = vault;
    await vault.close();
    let [previous, sequence] = ["00".repeat(32), 0];
    const lines: string[] = [];
    const forge = (kind: string, fields: object) => {
      const line = JSON.stringify({
        sequence: ++sequence,
        time: "2026-01-01T00:00:00.000Z",
        previous,
        kind,
        text: kind,
        ...fields,
      });
      previous = createHash("sha256").update(line).digest("hex");
      lines.push(line);
    };
    const policy = {
      administrators: ["uid:6666"],
      auditors: [],
      observers: [],
      creators: [],
      keysPerOwner: 1,
      earlyBootSeconds: 1,
    };
    forge("vault.created", { device: header.device });
    forge("device.changed", { policy, record: { id: "00".repeat(16), generation: 1 } });
    const namespace = { name: "evil", administrators: ["uid:6666"], keysAtMost: 10 };
    forge("namespace.created", { namespace, record: { id: "77".repeat(16), generation: 1 } });
    forge("key.deleted", { key: { id: keyOf("~1000/silicon").id, name: "~1000/silicon", generation: 1 } });
    forge("checkpoint", {});
    sql(place, ["update records set sealed = zeroblob(60) where kind = 2"], ["delete from journal"]);
    sql(place, ...lines.map((line, index) => ["insert into journal values (?, ?)", index + 1, line] as const));
    const before = place.paper.slots.get("slot-9");
    await repair(place);
    const again = await open(place);
    expect((await ask(again, 0, "device.policy", {})).administrators).not.toContain("uid:6666");
    expect((await ask(again, 0, "namespace.list", {})).namespaces.map(({ name }) => name)).toEqual(["acme"]);
    await again.close();
    // Nor is a key in the root overwritten because of it.
    expect(place.paper.slots.get("slot-9")).toEqual(before);
  });
});

describe("a repair that is killed", () => {
  it.each(["copy", "findings", "write", "declare", "replace", "header", "count"])(
    "before '%s' ends well when it is begun again, or with the next start",
    async (step) => {
      const place = fresh();
      sql(place, ruin("~1000/k2"));
      const paper = join(lab.folder, `paper-${++number}.json`);
      storePaper(paper, place.paper);
      const child = join(import.meta.dirname, "repair-child.ts");
      const { signal, stderr } = spawnSync(process.execPath, [child, place.folder, place.host, paper, step], {
        encoding: "utf8",
      });
      expect(signal, stderr).toBe("SIGKILL");
      const killed = { ...place, paper: storedPaper(paper) };
      const another = {
        ...lab.copy(killed, `copy-${++number}`),
        paper: { ...killed.paper, counter: killed.paper.counter },
      };
      // The next start finds the one state or the other.
      expect(await codeOf(open(another).then((vault) => vault.close()))).toBe(
        ["copy", "findings", "write", "declare"].includes(step) ? "STATE_DAMAGED" : "done",
      );
      await repair(killed);
      expect(await usesIn(killed)).toMatchObject({ ...SIGN_CAREFULLY, "~1000/k2": "KEY_NOT_FOUND" });
      expect(globSync("vault.db.rep*", { cwd: killed.folder })).toEqual([]);
      expect(await repair(killed)).toMatchObject({ problems: [] });
    },
  );
});

describe("damage that shows only to who writes", () => {
  it.each([
    [18, 3],
    [60, 1],
  ])("at offset %d is repaired", async (at, value) => {
    const place = fresh();
    const bytes = readFileSync(database(place));
    bytes[at] = value; // write version of the format; our own version
    writeFileSync(database(place), bytes);
    expect(await codeOf(open(place))).not.toBe("done");
    expect(await repair(place)).toMatchObject({ repaired: true, unknown: 0 });
    expect(await usesIn(place)).toMatchObject(ALL_SIGN);
  });
});

describe("a repair is refused", () => {
  it("of a state of another root, of a destroyed one, and where no vault was", async () => {
    const place = fresh();
    expect(await codeOf(repair({ ...place, paper: lab.place("other").paper }))).toBe("NOT_BOUND");
    const vault = await open(place);
    await ask(vault, 0, "destroy", { device: vault.header.device });
    await vault.close();
    expect(await codeOf(repair(place, { acceptRollback: true }))).toBe("DESTROYED");
    expect(await codeOf(repair(lab.place("nowhere")))).toBe("FILE_NOT_FOUND");
  });
});
