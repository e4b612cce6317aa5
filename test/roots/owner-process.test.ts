/** An owner that is a process: what is asked of it comes back, or fails, once; whatever it does. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Owner, ownerOf } from "../../src/roots/owner.ts";
import { processOwner } from "../../src/roots/owner-process.ts";
import type { ProgramCalls } from "./owner-program.ts";

const PROGRAM = new URL("./owner-program.ts", import.meta.url);
const repeatable = { longest: 60_000, repeatable: true };
const once = { longest: 60_000, repeatable: false };

let folder: string;
let file: string;
const owners: Owner<ProgramCalls>[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
  file = join(folder, "notes");
});
afterEach(async () => {
  for (const owner of owners.splice(0)) await owner.close();
  rmSync(folder, { recursive: true, force: true });
});

function started(data: () => unknown = () => "data", slack = 10_000): Owner<ProgramCalls> {
  const owner = ownerOf<ProgramCalls>("the thing", processOwner(PROGRAM, data), slack);
  owners.push(owner);
  return owner;
}

const notes = () => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []);

it("bytes come and go, and calls are done in the order they were asked", async () => {
  const owner = started();
  const bytes = [0, 1, 1000, 100_000].map((length) => new Uint8Array(randomBytes(length)));
  expect(await Promise.all(bytes.map((one) => owner.call("echo", [one], repeatable)))).toEqual(bytes);
  const texts = Array.from({ length: 200 }, (_, n) => `${n}`);
  await Promise.all(texts.map((text) => owner.call("note", [file, text], once)));
  expect(notes()).toEqual(texts);
});

it("one that cannot be started is an error, also when starting throws", async () => {
  const throwing = ownerOf<ProgramCalls>(
    "the thing",
    () => {
      throw new Error("no more processes");
    },
    10_000,
  );
  await expect(throwing.call("hang", [], once)).rejects.toMatchObject({
    code: "ROOT_UNAVAILABLE",
    message: expect.stringContaining("no more processes"),
  });
  const { execPath } = process;
  try {
    process.execPath = join(folder, "no-node");
    await expect(started().call("hang", [], repeatable)).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining("ENOENT"),
    });
  } finally {
    process.execPath = execPath;
  }
});

it("errors come with code and hint, and cost nobody else anything", async () => {
  const owner = started();
  const refused = owner.call("refuse", [], once);
  const echoed = owner.call("echo", [Uint8Array.of(1)], repeatable);
  await expect(refused).rejects.toMatchObject({ code: "ROOT_REFUSED", message: "no", hint: "ask for something else" });
  expect(await echoed).toEqual(Uint8Array.of(1));
});

it("one that dies is replaced: what may be repeated is, once; what may not has an unknown outcome", async () => {
  const owner = started();
  expect(await owner.call("die", [file, 1], repeatable)).toBe("survived");
  await expect(owner.call("die", [join(folder, "two"), 2], repeatable)).rejects.toMatchObject({
    code: "ROOT_UNAVAILABLE",
    message: expect.stringContaining("SIGKILL"),
  });
  await expect(owner.call("die", [join(folder, "three"), 1], once)).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  expect(await owner.call("echo", [Uint8Array.of(2)], repeatable)).toEqual(Uint8Array.of(2));
});

it("what it had done and answered before it died is not done again", async () => {
  const owner = started();
  const results = await Promise.allSettled([
    ...Array.from({ length: 50 }, (_, n) => owner.call("note", [file, `before ${n}`], once)),
    owner.call("die", [join(folder, "deaths"), 1], repeatable),
    ...Array.from({ length: 50 }, (_, n) => owner.call("note", [file, `after ${n}`], once)),
  ]);
  expect(results.every(({ status }) => status === "fulfilled")).toBe(true);
  expect(notes()).toHaveLength(100);
  expect(new Set(notes()).size).toBe(100);
});

it("what it answered while we looked away is not done again, although it is dead when we look", async () => {
  const owner = started();
  await owner.call("started", [], repeatable);
  const asked = Promise.allSettled([
    ...Array.from({ length: 50 }, (_, n) => owner.call("note", [file, `${n}`], once)),
    owner.call("die", [join(folder, "deaths"), 1], repeatable),
  ]);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve))); // they are on their way
  while (!existsSync(join(folder, "deaths"))) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  expect((await asked).every(({ status }) => status === "fulfilled")).toBe(true);
  expect(notes()).toHaveLength(50);
});

it("one that hangs is ended within the deadline, and what waited behind is done by the next", async () => {
  const owner = started(undefined, 5000);
  await owner.call("started", [], repeatable);
  const hanging = owner.call("hang", [], { longest: 100, repeatable: true });
  const behind = owner.call("echo", [Uint8Array.of(3)], repeatable);
  await expect(hanging).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  expect(await behind).toEqual(Uint8Array.of(3));
});

it("each is told anew what it starts with", async () => {
  let count = 0;
  const owner = started(() => ({ count: ++count, bytes: Uint8Array.of(count) }));
  expect(await owner.call("started", [], repeatable)).toEqual({ count: 1, bytes: Uint8Array.of(1) });
  await owner.call("die", [file, 1], repeatable);
  expect(await owner.call("started", [], repeatable)).toEqual({ count: 2, bytes: Uint8Array.of(2) });
});

it("one that cannot start says why, and what it prints later is nobody's business", async () => {
  await expect(started(() => "broken").call("started", [], repeatable)).rejects.toMatchObject({
    code: "ROOT_UNAVAILABLE",
    message: expect.stringContaining("it is broken"),
  });
  const missing = ownerOf<ProgramCalls>(
    "the thing",
    processOwner(new URL("./none.ts", PROGRAM), () => ""),
    10_000,
  );
  owners.push(missing);
  await expect(missing.call("started", [], repeatable)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  const owner = started();
  await owner.call("print", ["secret\n".repeat(100_000)], repeatable);
  const error = await owner.call("die", [file, 9], repeatable).catch((error) => error);
  expect(error.message).not.toContain("secret");
});

it("closing waits for what was asked, and afterwards nothing is", async () => {
  const owner = started();
  const asked = Array.from({ length: 20 }, (_, n) => owner.call("note", [file, `${n}`], once));
  await owner.close();
  await Promise.all(asked);
  expect(notes()).toHaveLength(20);
  await expect(owner.call("started", [], repeatable)).rejects.toMatchObject({ code: "ROOT_UNAVAILABLE" });
  await owner.close();
});

it("closing ends one that hangs", async () => {
  const owner = started(undefined, 3000);
  await owner.call("started", [], repeatable);
  const hanging = owner.call("hang", [], { longest: 100, repeatable: true }).catch((error) => error.code);
  await owner.close();
  expect(await hanging).toBe("ROOT_UNAVAILABLE");
});
