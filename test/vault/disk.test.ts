/** A disk that is full, or cannot be written any more: changes say so, and what is there is served. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bytesOf, openLab } from "./lab.ts";

const lab = openLab();
const mounted: string[] = [];
afterAll(async () => {
  await lab.close().catch(() => {});
  for (const path of mounted) execFileSync("umount", ["-l", path]);
  rmSync(lab.folder, { recursive: true, force: true });
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

const data = bytesOf("a message");

describe.skipIf(process.getuid?.() !== 0)("a state on a disk", () => {
  it("that is full serves what is there, and goes on when there is room", async (context) => {
    if (!smallDisk("full", "size=2m,mode=700")) return context.skip();
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

  it("that becomes read-only serves what is there, and a start says what is wrong", async (context) => {
    if (!smallDisk("still", "size=8m,mode=700")) return context.skip();
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
