import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { stringify } from "smol-toml";
import { afterAll, describe, expect, it } from "vitest";
import { argumentsOfHalf, parseConfiguration, readConfiguration } from "../../src/cli/configuration.ts";
import { ThornkeyError } from "../../src/errors.ts";
import { ready, thornkey } from "./lab.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

let number = 0;
function file(text: string): string {
  const path = join(folder, `${++number}.toml`);
  writeFileSync(path, text);
  return path;
}

const read = (text: string) => parseConfiguration(new TextEncoder().encode(text), "/etc/thornkey/thornkey.toml");

describe("the configuration file", () => {
  it("says where things are", async () => {
    const text = 'root = "pi"\nstate = "/srv/state"\nrun = "/run/other"\nhost = "/host"\ngate-user = "gate"\n';
    expect(await read(text)).toEqual({
      ...{ root: "pi", state: "/srv/state", run: "/run/other", host: "/host" },
      "gate-user": "gate",
    });
    expect(await read('root = ["atecc:/dev/i2c-1", "pi"]')).toEqual({ root: "atecc:/dev/i2c-1+pi" });
    expect(await read("# nothing\n")).toEqual({});
  });

  it.each([
    ['state = "/a"\ncolour = "red"', 2, /"colour" is no setting/, /there are root, state/],
    ["\n[vault]\nstate = '/a'", 2, /"vault" is no setting/, /there are/],
    ["state = 3", 1, /state must be an absolute path/, /correct/],
    ['\n\nstate = "relative"', 3, /state must be an absolute path/, /correct/],
    ['run = "/a"\nrun = "/b"', 2, /./, /write TOML/],
    ['root = "pi', 1, /./, /write TOML/],
    ["root = []", 1, /one root specification/, /correct/],
    ["root = [1]", 1, /root specification/, /correct/],
    ['root = ""', 1, /root specification/, /correct/],
    ['root = "pkcs11:/m.so?token=a&pin-value=1234"', 1, /without a PIN/, /pin-source/],
    ['gate-user = "a b"', 1, /name of a user/, /correct/],
    ['"__proto__" = "x"', 1, /__proto__/, /there are/],
  ])("tells what is wrong, and in which line: %j", async (text, line, sentence, hint) => {
    const error = await read(text).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ThornkeyError);
    const { code, message, hint: said } = error as ThornkeyError;
    expect({ code, message, said }).toMatchObject({
      code: "MALFORMED",
      message: expect.stringMatching(new RegExp(`^/etc/thornkey/thornkey.toml, line ${line}: `)),
    });
    expect(message).toMatch(sentence);
    expect(said).toMatch(hint);
  });

  it("never fails in another way, whatever is in it", async () => {
    const mustBeKnown = async (reading: Promise<unknown>) => {
      try {
        await reading;
      } catch (error) {
        if (!(error instanceof ThornkeyError) || error.code !== "MALFORMED") throw error;
      }
    };
    const key = fc.oneof(fc.constantFrom("root", "state", "run", "host", "gate-user", "vault-run"), fc.string());
    const value = fc.oneof(
      ...[fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string()), fc.dictionary(fc.string(), fc.integer())],
      fc.constantFrom("/a", "pi", "a+b", "emulated:x"),
    );
    const toml = fc.dictionary(key, value).map((table) => {
      try {
        return stringify(table);
      } catch {
        return "a = "; // what TOML cannot write
      }
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(toml, fc.string({ unit: "binary" })), (text) => mustBeKnown(read(text))),
      { numRuns: 500 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => mustBeKnown(parseConfiguration(bytes, "f"))),
    );
  });

  it("need not be there, unless somebody names it", async () => {
    await expect(readConfiguration(join(folder, "none.toml"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    expect(thornkey(["status", "--config", join(folder, "none.toml")])).toMatchObject({
      status: 4,
      stderr: expect.stringContaining("none.toml"),
    });
    mkdirSync(join(folder, "a-folder"));
    await expect(readConfiguration(join(folder, "a-folder"))).rejects.toMatchObject({ code: "MALFORMED" });
  });

  it.skipIf(process.getuid?.() === 0)("must be readable", async () => {
    const path = file("");
    chmodSync(path, 0);
    await expect(readConfiguration(path)).rejects.toMatchObject({ code: "NOT_PERMITTED" });
  });
});

describe("a half", () => {
  it("is told what the file says, and what its command line says goes before", async () => {
    const config = file('state = "/s"\nrun = "/r"\nvault-run = "/v"\nroot = ["a:1", "pi"]\ngate-user = "root"\n');
    expect(await argumentsOfHalf("vault", ["--config", config, "--state", "/other"])).toEqual([
      ...["--run=/v", "--root=a:1+pi", "--gate-uid=0"],
      ...["--state", "/other"],
    ]);
    expect(await argumentsOfHalf("gate", [`--config=${config}`])).toEqual(["--run=/r", "--vault=/v/vault.sock"]);
    expect(await argumentsOfHalf("gate", [`--config=${file("")}`])).toEqual(["--run=/run/thornkey"]);
    const stranger = file('gate-user = "nobody-of-that-name"\n');
    await expect(argumentsOfHalf("vault", ["--config", stranger])).rejects.toMatchObject({ code: "USAGE" });
  });
});

it("up and its clients need nothing but the file; options go before it", { timeout: 120_000 }, async () => {
  const at = (name: string) => join(folder, name);
  const config = file(`root = "emulated:${at("chip")}"\nstate = "${at("state")}"\nrun = "${at("run")}"\n`);
  const both = await ready(["--config", config]);
  try {
    expect(thornkey(["status", "--config", config]).stdout).toMatch(/^state +operational$/m);
    expect(thornkey(["doctor", "--json", "--config", config]).stdout).toContain("operational");
    expect(thornkey(["status", "--config", config, "--run", at("elsewhere")]).status).toBe(6);
  } finally {
    both.child.kill("SIGTERM");
    await both.ended;
  }
  expect(thornkey(["repair", "--dry-run", "--config", config])).toMatchObject({
    status: 0,
    stdout: "nothing is damaged\n",
  });
  const broken = file("\nroot = pi\n");
  expect(thornkey(["up", "--config", broken])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^thornkey: MALFORMED: .*line 2: .*\nhint: /),
  });
});
