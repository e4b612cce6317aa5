/** A disk that is full, or cannot be written any more: changes say so, and what is there is served. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bytesOf, type LabVault, openLab, type Person } from "./lab.ts";

const lab = openLab();
const mounted: string[] = [];
afterAll(async () => {
  await lab.close().catch(() => {});
  for (const path of mounted) execFileSync("umount", ["-l", path]);
  rmSync(lab.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

/** @returns whether a small file system of its own could be had for the state */
function smallDisk(name: string, options: string): boolean {
  const path = lab.path(name);
  mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], { stdio: "ignore" });
  } catch {
    return false;
  }
  mounted.push(path);
  return true;
}

/** @returns whether a device of its own, with the file system of an SD card, could be had */
function card(name: string): boolean {
  const image = lab.path(`${name}.image`);
  try {
    writeFileSync(image, "");
    truncateSync(image, 16 << 20);
    execFileSync("mkfs.ext4", ["-q", image], { stdio: "ignore" });
    mkdirSync(lab.path(name));
    mountCard(name);
  } catch {
    return false;
  }
  mounted.push(lab.path(name));
  return true;
}

const mountCard = (name: string) =>
  execFileSync("mount", ["-o", "loop,errors=remount-ro", lab.path(`${name}.image`), lab.path(name)], {
    stdio: "ignore",
  });

/** Takes a card out and puts it in again. The kernel lets go of the old device in its own time. */
async function reinsertCard(name: string): Promise<void> {
  execFileSync("umount", [lab.path(name)]);
  await expect
    .poll(() => spawnSync("losetup", ["-j", lab.path(`${name}.image`)], { encoding: "utf8" }).stdout, {
      timeout: 30_000,
    })
    .toBe("");
  // As at the start of a device. 1: something was mended; the journal of the file system, after such an end.
  expect([0, 1]).toContain(spawnSync("e2fsck", ["-p", lab.path(`${name}.image`)]).status);
  mountCard(name);
}

const data = bytesOf("a message");

/** Keys of a user whose disk is about to fail: one that is only used, others that changes are tried with. */
async function makeKeys(user: Person): Promise<void> {
  for (const name of ["there", "changed", "deleted"]) await user.ask("key.create", { name, type: "p256" });
  await user.ask("key.create", { name: "counted", type: "p256", fixed: { maximumUses: 3 } });
  await user.ask("key.create", { name: "box", type: "aes256" });
}

/** What each operation ends with while nothing can be written. */
async function outcomes({ root }: LabVault, user: Person): Promise<{ [operation: string]: string }> {
  const policy = { rate: { uses: 5, seconds: 1 } };
  return {
    "key.create": await user.codeOf("key.create", { name: "new", type: "p256" }),
    "key.policy": await user.codeOf("key.policy", { key: "changed", policy }),
    "key.delete": await user.codeOf("key.delete", { key: "deleted" }),
    "sign, counted": await user.codeOf("sign", { key: "counted", data }),
    freeze: await root.codeOf("freeze", {}),
    "journal.checkpoint": await root.codeOf("journal.checkpoint", {}),
    sign: await user.codeOf("sign", { key: "there", data }),
    "sign with what was not deleted": await user.codeOf("sign", { key: "deleted", data }),
    encrypt: await user.codeOf("encrypt", { key: "box", plaintext: data.slice() }),
    "key.show": await user.codeOf("key.show", { key: "changed" }),
    "key.list": await user.codeOf("key.list", {}),
    random: await user.codeOf("random", { length: 32 }),
    status: await user.codeOf("status", {}),
    "journal.read": await root.codeOf("journal.read", {}),
  };
}

const UNWRITABLE = {
  ...Object.fromEntries(
    ["key.create", "key.policy", "key.delete", "sign, counted", "freeze", "journal.checkpoint"].map((name) => [
      name,
      "STATE_UNWRITABLE",
    ]),
  ),
  ...Object.fromEntries(
    [
      ...["sign", "sign with what was not deleted", "encrypt", "key.show", "key.list", "random", "status"],
      "journal.read",
    ].map((name) => [name, "done"]),
  ),
};

/** What was acknowledged is there, what was refused did not happen, and everything is possible again. */
async function mustBeAsBefore(user: Person): Promise<void> {
  const { keys } = await user.ask("key.list", {});
  expect(keys.map(({ name }) => name.slice(name.lastIndexOf("/") + 1)).sort()).toEqual(
    expect.arrayContaining(["box", "changed", "counted", "deleted", "there"]),
  );
  expect(keys.some(({ name }) => name.endsWith("/new"))).toBe(false);
  expect((await user.ask("key.show", { key: "changed" })).key.policy.rate).toBeUndefined();
  expect(await user.codeOf("key.create", { name: "new", type: "p256" })).toBe("done");
  expect(await user.codeOf("key.delete", { key: "deleted" })).toBe("done");
  for (let i = 0; i < 3; i++) expect(await user.codeOf("sign", { key: "counted", data })).toBe("done");
  expect(await user.codeOf("sign", { key: "counted", data })).toBe("NOT_PERMITTED");
}

describe.skipIf(process.getuid?.() !== 0)("a state on a disk", () => {
  it("that is full serves what is there, and goes on when there is room", async (context) => {
    if (!smallDisk("full", "size=2m,mode=700")) return context.skip("nothing can be mounted here");
    const vault = await lab.vault({ state: "full" });
    expect(vault.said, vault.stderr()).toBe("ready");
    const user = vault.person({ uid: 1000 });
    await user.ask("key.create", { name: "there", type: "p256" });
    const filling = join(lab.path("full"), "filling");
    const { bavail, bsize } = statfsSync(lab.path("full"));
    writeFileSync(filling, new Uint8Array(bavail * bsize));
    // The log has pages it can use again; they do not last.
    let code = "done";
    for (let i = 0; i < 300 && code === "done"; i++) {
      code = await user.codeOf("key.create", { name: `more${i}`, type: "p256" });
    }
    expect(code).toBe("STATE_UNWRITABLE");
    expect(await user.codeOf("sign", { key: "there", data })).toBe("done");
    expect(await user.codeOf("key.show", { key: "there" })).toBe("done");
    const { keys } = await user.ask("key.list", { limit: 500 });
    rmSync(filling);
    expect(await user.codeOf("key.create", { name: "again", type: "p256" })).toBe("done");
    expect((await user.ask("key.list", { limit: 500 })).keys).toHaveLength(keys.length + 1);
    await vault.end("SIGKILL");
    const next = await lab.vault({ state: "full" });
    expect(next.said, next.stderr()).toBe("ready");
    expect((await next.person({ uid: 1000 }).ask("key.list", { limit: 500 })).keys).toHaveLength(keys.length + 1);
    await next.end();
  });

  it("that turns read-only under the vault serves what is there, and loses nothing", async (context) => {
    if (!card("card")) return context.skip();
    const wishes = { state: "card/state", silicon: "silicon-card" };
    const vault = await lab.vault(wishes);
    expect(vault.said, vault.stderr()).toBe("ready");
    const user = vault.person({ uid: 1000 });
    await makeKeys(user);
    // As after an error of the card: ext4 takes no write any more, from whomever has it open (ext4(5), abort).
    execFileSync("mount", ["-o", "remount,abort", lab.path("card")]);
    expect(await outcomes(vault, user)).toEqual(UNWRITABLE);
    expect(vault.alive(), vault.stderr()).toBe(true);
    await vault.end("SIGKILL");
    await reinsertCard("card");
    const again = await lab.vault(wishes);
    expect(again.said, again.stderr()).toBe("ready");
    await mustBeAsBefore(again.person({ uid: 1000 }));
    await again.end();
  });

  it("that cannot be written for a while is written again without a new start", async (context) => {
    if (!card("while")) return context.skip();
    const wishes = { state: "while/state", silicon: "silicon-while" };
    const vault = await lab.vault(wishes);
    const user = vault.person({ uid: 1000 });
    await makeKeys(user);
    // The kernel does not make a file system read-only while files of it are open for writing; but files.
    const files = ["vault.db", "vault.db-wal"].map((name) => join(lab.path("while/state"), name));
    try {
      execFileSync("chattr", ["+i", ...files], { stdio: "ignore" });
    } catch {
      return context.skip("this file system makes no file immutable");
    }
    expect(await outcomes(vault, user)).toEqual(UNWRITABLE);
    execFileSync("chattr", ["-i", ...files]);
    await mustBeAsBefore(user);
    await vault.end("SIGKILL");
    const next = await lab.vault(wishes);
    expect(next.said, next.stderr()).toBe("ready");
    expect(await next.person({ uid: 1000 }).codeOf("sign", { key: "new", data })).toBe("done");
    await next.end();
  });

  it("that becomes read-only serves what is there, and a start says what is wrong", async (context) => {
    if (!smallDisk("still", "size=8m,mode=700")) return context.skip("nothing can be mounted here");
    const wishes = { state: "still", silicon: "silicon-still" };
    const vault = await lab.vault(wishes);
    await vault.person({ uid: 1000 }).ask("key.create", { name: "there", type: "p256" });
    await vault.end();
    execFileSync("mount", ["-o", "remount,ro", lab.path("still")]);
    const refused = await lab.vault(wishes);
    expect(refused.stderr()).toMatch(/STATE_UNWRITABLE/);
    await refused.end();
    execFileSync("mount", ["-o", "remount,rw", lab.path("still")]);
    const again = await lab.vault(wishes);
    expect(again.said, again.stderr()).toBe("ready");
    expect(await again.person({ uid: 1000 }).codeOf("sign", { key: "there", data })).toBe("done");
    await again.end();
  });
});
