import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, it } from "vitest";
import { thornkey } from "./lab.ts";

const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith("thornkey-tour-"));

it("thornkey tour proves its steps, ends with success, and leaves nothing", { timeout: 120_000 }, () => {
  const before = leftovers();
  const { status, stdout, stderr } = thornkey(["tour", "--json"]);
  expect(stderr).toContain("protects nothing itself");
  expect(status, stderr).toBe(0);
  const steps = JSON.parse(stdout);
  expect(steps).toHaveLength(10);
  expect(JSON.stringify(steps)).toMatch(/NOT_BOUND.*ROLLED_BACK.*FROZEN.*signed up to.*DESTROYED/);
  expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
});
