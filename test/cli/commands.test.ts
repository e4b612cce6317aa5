/** Commands are loaded when they are asked for: each that the help lists is found by its name. */
import { describe, expect, it } from "vitest";
import { thornkey } from "./lab.ts";

describe("thornkey", () => {
  const { stdout } = thornkey(["--help"]);
  const names = [...stdout.slice(stdout.indexOf("Commands:")).matchAll(/^ {2}([a-z-]+)/gm)].map(
    ([, name = ""]) => name,
  );

  it("lists its commands", () => {
    expect(names).toEqual(expect.arrayContaining(["up", "key", "sign", "repair", "doctor", "help"]));
  });

  it.each(names.filter((name) => name !== "help" && name !== "vault" && name !== "gate"))("has %s", (name) => {
    const { status, stdout, stderr } = thornkey([name, "--help"]);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: thornkey ${name}\\b`));
  });

  it("says what there is when something else is asked for", () => {
    const { status, stderr } = thornkey(["nonsense"]);
    expect(status).toBe(2);
    expect(stderr).toContain("unknown command 'nonsense'");
  });
});
