import { join } from "node:path";
import { expect, it } from "vitest";
import { openPiRoot } from "../../../src/roots/pi/root.ts";
import { folder } from "./lab.ts";

it.each([
  ["nobody listens", "nobody.sock", "ENOENT"],
  ["the path is too long", "x".repeat(120), "ENAMETOOLONG"],
])("an emulated firmware of which %s: the error says what to look at", async (_, name, errno) => {
  const { path, remove } = folder();
  try {
    await expect(openPiRoot({ node: `unix:${join(path, name)}` })).rejects.toMatchObject({
      code: "ROOT_UNAVAILABLE",
      message: expect.stringContaining(errno),
      hint: expect.stringContaining("thornkey emulator pi-firmware"),
    });
  } finally {
    remove();
  }
});
