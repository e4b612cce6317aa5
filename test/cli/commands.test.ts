/** Commands are loaded when they are asked for: each group holds those that it names. */
import { describe, expect, it } from "vitest";
import { GROUPS } from "../../src/cli/groups.ts";
import { thornkey } from "./lab.ts";

describe("thornkey", () => {
  it.each(GROUPS)("has %s", async (names, load) => {
    expect((await load()).map((command) => command.name())).toEqual(names);
  });

  it("lists all of them, and loads one by its name", () => {
    const { stdout } = thornkey(["--help"]);
    for (const name of GROUPS.flatMap(([names]) => names)) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, "m"));
    expect(thornkey(["sign", "--help"]).stdout).toMatch(/^Usage: thornkey sign\b/);
  });

  it("says what there is when something else is asked for", () => {
    const { status, stderr } = thornkey(["nonsense"]);
    expect(status).toBe(2);
    expect(stderr).toContain("unknown command 'nonsense'");
  });
});
