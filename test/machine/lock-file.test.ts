import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { takeLock } from "../../src/machine/lock-file.ts";

const HOLDER = fileURLToPath(new URL("lock-holder.ts", import.meta.url));

let folder: string;
let path: string;
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-lock-"));
  path = join(folder, "lock");
  children = [];
});

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

async function another(): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [HOLDER, path], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const [said] = await once(child.stdout, "data");
  return { child, said: String(said).trim() };
}

describe("a lock", () => {
  it("is held by one, and names him to the next", async () => {
    const release = takeLock(path, "the state");
    expect((await another()).said).toBe(`the state is in use by process ${process.pid}`);
    expect(() => takeLock(path, "the state")).toThrow(
      expect.objectContaining({ code: "FAILED", message: `the state is in use by process ${process.pid}` }),
    );
    release();
    release();
    const { child, said } = await another();
    expect(said).toBe("taken");
    expect(() => takeLock(path, "the state")).toThrow(`the state is in use by process ${child.pid}`);
  });

  it("ends with its holder, however he ends", async () => {
    const { child } = await another();
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(readFileSync(path, "utf8")).toBe(`${child.pid}\n`);
    takeLock(path, "the state")();
    expect(readFileSync(path, "utf8")).toBe("");
  });

  it("is taken by exactly one of many at once", async () => {
    const all = await Promise.all(Array.from({ length: 6 }, another));
    expect(all.filter(({ said }) => said === "taken")).toHaveLength(1);
    expect(all.filter(({ said }) => said.startsWith("the state is in use"))).toHaveLength(5);
  });

  it("says nothing wrong of its holder when its file holds nonsense", async () => {
    const { child } = await another();
    for (const text of ["", "nonsense", "12", "99999999999999999\n"]) {
      writeFileSync(path, text);
      expect(() => takeLock(path, "the state")).toThrow(/^the state is in use$/);
    }
    child.kill("SIGKILL");
  });

  it("is refused where there can be none", () => {
    const refused = expect.objectContaining({ code: "STATE_UNWRITABLE" });
    expect(() => takeLock(join(folder, "nowhere/lock"), "the state")).toThrow(refused);
    mkdirSync(path);
    expect(() => takeLock(path, "the state")).toThrow(refused);
    rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    symlinkSync("/dev/null", path);
    expect(() => takeLock(path, "the state")).toThrow(refused);
  });
});
