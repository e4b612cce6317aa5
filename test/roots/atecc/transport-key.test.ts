import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readOrMakeTransportKey } from "../../../src/roots/atecc/transport-key.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "thornkey-test-"));
  path = join(folder, "transport.key");
});
afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

const bytesOf = async (file: string, mayMake = true) => {
  using secret = await readOrMakeTransportKey(file, { mayMake });
  return secret.use((bytes) => Buffer.from(bytes));
};

it("is made once, for its owner only, and read from then on", async () => {
  const made = await bytesOf(path);
  expect(readFileSync(path).equals(made)).toBe(true);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["transport.key"]);
  expect((await bytesOf(path, false)).equals(made)).toBe(true);
});

it("is the same for everybody who makes it at the same time", async () => {
  const keys = await Promise.all(Array.from({ length: 20 }, () => bytesOf(path)));
  expect(new Set(keys.map((key) => key.toString("hex"))).size).toBe(1);
  expect(readdirSync(folder)).toEqual(["transport.key"]);
});

it("is refused when it is not one, or when others may read it; what is there is left alone", async () => {
  await expect(bytesOf(path, false)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  for (const length of [0, 31, 33]) {
    writeFileSync(path, Buffer.alloc(length, 1), { mode: 0o600 });
    await expect(bytesOf(path)).rejects.toMatchObject({ code: "MALFORMED" });
    expect(statSync(path).size).toBe(length);
  }
  writeFileSync(path, Buffer.alloc(32, 1));
  chmodSync(path, 0o640);
  await expect(bytesOf(path)).rejects.toMatchObject({
    code: "NOT_PERMITTED",
    hint: expect.stringContaining("chmod 600"),
  });
});

it("is not made where it cannot be", async () => {
  await expect(bytesOf(join(folder, "nowhere", "key"))).rejects.toMatchObject({ code: "FAILED" });
  symlinkSync(join(folder, "nowhere"), path);
  await expect(bytesOf(path)).rejects.toMatchObject({ code: "FAILED" });
});
