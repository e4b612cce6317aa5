/** Ends that are interrupted: a vault that is being destroyed, a key in the root that is being deleted. */

import { type ChildProcess, execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/bytes/bytes.ts";
import { p256Point } from "../../src/bytes/der.ts";
import { startEmulatedChip } from "../../src/roots/atecc/emulated.ts";
import { openAteccRoot } from "../../src/roots/atecc/root.ts";
import { openLab } from "./lab.ts";
import { ask, codeOf, database, furnish, open, openRepairLab, type Place, repair } from "./repair-lab.ts";

const lab = openRepairLab();
const real = openLab();
afterAll(async () => {
  lab.close();
  await real.close();
});

const latchOf = (place: Place) =>
  JSON.parse(readFileSync(join(place.folder, "destroyed"), "utf8")) as { done: boolean };

/** What somebody finds who pulls the plug now: disk and root as they are. */
const unplugged = (place: Place, name: string): Place => ({ ...lab.copy(place, name), paper: place.paper });

describe("a destruction", () => {
  it("that the root did not finish goes on with the next start, and leaves nothing that opens", async () => {
    const place = lab.place("interrupted");
    await furnish(place);
    const vault = await open(place);
    const before = lab.copy(place, "before");
    const secret = toHex(place.paper.secret);
    place.paper.broken = "destroyKey";
    expect(await codeOf(ask(vault, 0, "destroy", { device: vault.header.device }))).toBe("ROOT_UNAVAILABLE");
    const off = unplugged(place, "off");
    await vault.close();
    expect(latchOf(off)).toMatchObject({ done: false });
    expect(toHex(off.paper.secret)).toBe(secret);
    // Still without its root: it says so, and stays to be done.
    await expect(open(off)).rejects.toMatchObject({ code: "DESTROYED", cause: { code: "ROOT_UNAVAILABLE" } });
    off.paper.broken = undefined;
    await expect(open(off)).rejects.toMatchObject({ code: "DESTROYED" });
    expect(latchOf(off)).toMatchObject({ done: true });
    expect(off.paper.zeroized).toBe(1);
    // Done is done.
    await expect(open(off)).rejects.toMatchObject({ code: "DESTROYED" });
    expect(off.paper.zeroized).toBe(1);
    expect(await codeOf(open({ ...before, paper: off.paper }))).toBe("NOT_BOUND");
  });

  it("that was interrupted right after its latch shreds the store as well, and what repairs left", async () => {
    const place = lab.place("latched");
    const keys = await furnish(place);
    const opened = new DatabaseSync(database(place));
    opened.prepare("update records set sealed = zeroblob(60) where id = ?").run(Buffer.from(keys[0]?.id ?? "", "hex"));
    opened.close();
    await repair(place);
    const vault = await open(place);
    const { device } = vault.header;
    // As `latch` leaves it, and nothing after it happened.
    vault.latch("the device is sold", false);
    const off = unplugged(place, "latched-off");
    await vault.close();
    const rowsIn = (path: string) => {
      const reading = new DatabaseSync(path);
      const count = (table: string) => Number(reading.prepare(`select count(*) as n from ${table}`).get()?.n);
      const counts = {
        records: count("records"),
        meta: count("meta"),
        spare: count("spare"),
        journal: count("journal"),
      };
      reading.close();
      return counts;
    };
    expect(rowsIn(database(off)).records).toBeGreaterThan(5);
    await expect(open(off)).rejects.toMatchObject({ code: "DESTROYED", message: expect.stringContaining("is sold") });
    expect(rowsIn(database(off))).toMatchObject({ records: 0, meta: 0, spare: 0 });
    expect(rowsIn(database(off)).journal).toBeGreaterThan(5);
    for (const sealed of globSync("damaged-*/{vault.db*,header.copy}", { cwd: off.folder })) {
      expect(readFileSync(join(off.folder, sealed)).every((byte) => byte === 0)).toBe(true);
    }
    expect(off.paper.zeroized).toBe(1);
    expect(device).not.toBe("");
  });

  it("does nothing to another root", async () => {
    const place = lab.place("elsewhere");
    await furnish(place, 1);
    const vault = await open(place);
    vault.latch("gone", false);
    await vault.close();
    const other = lab.place("other").paper;
    await expect(open({ ...place, paper: other })).rejects.toMatchObject({
      code: "DESTROYED",
      cause: { code: "NOT_BOUND" },
    });
    expect(other.zeroized).toBe(0);
    expect(latchOf(place)).toMatchObject({ done: false });
  });

  it("begins also when the root does not count", async () => {
    const place = lab.place("silent");
    await furnish(place, 1);
    const vault = await open(place);
    place.paper.broken = "counter";
    expect(await codeOf(ask(vault, 0, "destroy", { device: vault.header.device }))).toBe("done");
    expect(latchOf(place)).toMatchObject({ done: true });
    expect(place.paper.zeroized).toBe(1);
    await vault.close();
  });
});

describe("a key in the root", () => {
  it("that was deleted is overwritten with the next start when the power went in between", async () => {
    const place = lab.place("deleted");
    await furnish(place, 1);
    const vault = await open(place);
    const before = toHex(place.paper.slots.get("slot-9") ?? new Uint8Array());
    place.paper.broken = "destroyKey";
    expect(await codeOf(ask(vault, 1000, "key.delete", { key: "silicon" }))).toBe("ROOT_UNAVAILABLE");
    const off = unplugged(place, "deleted-off");
    await vault.close();
    expect(toHex(off.paper.slots.get("slot-9") ?? new Uint8Array())).toBe(before);
    off.paper.broken = undefined;
    const next = await open(off);
    expect(toHex(off.paper.slots.get("slot-9") ?? new Uint8Array())).not.toBe(before);
    expect(next.state.head.doomed).toEqual([]);
    expect(off.paper.destroyed).toEqual(["slot-9"]);
    await next.close();
    await (await open(off)).close();
    expect(off.paper.destroyed).toEqual(["slot-9"]);
  });

  it("that is used up, too", async () => {
    const place = lab.place("used-up");
    const vault = await open(place);
    const limited = { name: "once", type: "p256" as const, protection: "resident" as const, fixed: { maximumUses: 1 } };
    await ask(vault, 1000, "key.create", limited);
    place.paper.broken = "destroyKey";
    expect(await codeOf(ask(vault, 1000, "sign", { key: "once", data: new Uint8Array(1) }))).toBe("done");
    const off = unplugged(place, "used-up-off");
    await vault.close();
    off.paper.broken = undefined;
    const next = await open(off);
    expect(off.paper.destroyed).toEqual(["slot-9"]);
    expect(await codeOf(ask(next, 1000, "sign", { key: "once", data: new Uint8Array(1) }))).not.toBe("done");
    await next.close();
  });

  it("that somebody made in the place of a deleted one is not touched", async () => {
    const place = lab.place("reused");
    const vault = await open(place);
    const resident = { type: "p256" as const, protection: "resident" as const };
    await ask(vault, 1000, "key.create", { name: "first", ...resident });
    place.paper.broken = "destroyKey";
    await codeOf(ask(vault, 1000, "key.delete", { key: "first" }));
    await ask(vault, 1000, "key.create", { name: "second", ...resident });
    place.paper.broken = undefined;
    const off = unplugged(place, "reused-off");
    await vault.close();
    const next = await open(off);
    expect(off.paper.destroyed).toEqual([]);
    expect(next.state.head.doomed).toEqual([]);
    expect(await codeOf(ask(next, 1000, "sign", { key: "second", data: new Uint8Array(1) }))).toBe("done");
    await next.close();
  });
});

describe("a real vault, killed between the steps", () => {
  const emulatorOf = ({ pid }: ChildProcess): number =>
    Number(execFileSync("pgrep", ["-P", String(pid), "-f", "atecc508a/main"], { encoding: "utf8" }).trim());

  /** @returns public part of a place in the chip */
  async function pointIn(silicon: string, handle: string): Promise<string> {
    const chip = await startEmulatedChip(real.path(silicon));
    const root = await openAteccRoot(chip.location);
    try {
      return toHex(p256Point((await root.publicKey(handle)).spki));
    } finally {
      await root.close();
      await chip.close();
    }
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  it("overwrites the deleted key in silicon, and goes on with its destruction", { timeout: 300_000 }, async () => {
    const vault = await real.vault();
    expect(vault.said, vault.stderr()).toBe("ready");
    const user = vault.person({ uid: 1000 });
    const { key } = await user.ask("key.create", { name: "silicon", type: "p256", protection: "resident" });
    const point = toHex((key.publicKey ?? new Uint8Array()).subarray(-64));
    // The chip hears nothing any more; the deletion is written, and waits for it.
    const emulator = emulatorOf(vault.child);
    process.kill(emulator, "SIGSTOP");
    const deletion = user.codeOf("key.delete", { key: "silicon" });
    const written = () => {
      const reading = new DatabaseSync(join(real.path("state"), "vault.db"), { readOnly: true });
      const found = reading.prepare('select 1 from journal where line like \'%"kind":"key.deleted"%\'').get();
      reading.close();
      return found !== undefined;
    };
    await until(written);
    await vault.end("SIGKILL");
    process.kill(emulator, "SIGCONT");
    await until(() => !existsSync(`/proc/${emulator}`));
    await deletion;
    expect(await pointIn("silicon", "slot-9")).toBe(point);

    const next = await real.vault();
    expect(next.said, next.stderr()).toBe("ready");
    const { device } = await next.root.ask("status", {});
    real.copy("state", "state-before");
    const stopped = emulatorOf(next.child);
    // Killed while it overwrites one slot after the other.
    const destruction = next.root.codeOf("destroy", { device });
    await until(() => existsSync(join(real.path("state"), "destroyed")));
    process.kill(stopped, "SIGSTOP");
    await next.end("SIGKILL");
    process.kill(stopped, "SIGCONT");
    await until(() => !existsSync(`/proc/${stopped}`));
    await destruction;
    expect(await pointIn("silicon", "slot-9")).not.toBe(point);

    const last = await real.vault();
    expect(last.said).toBe("refused DESTROYED");
    await last.end();
    expect(JSON.parse(readFileSync(join(real.path("state"), "destroyed"), "utf8"))).toMatchObject({ done: true });
    const old = await real.vault({ state: "state-before" });
    expect(old.said).toMatch(/^refused (NOT_BOUND|ROLLED_BACK)$/);
    await old.end();
    rmSync(real.path("state-before"), { recursive: true });
  });
});
