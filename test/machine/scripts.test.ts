import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

/** A project with our scripts and a toy npm, which writes down how it was called. */
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "thornkey-scripts-"));
  cpSync(fileURLToPath(new URL("../../scripts", import.meta.url)), join(root, "scripts"), { recursive: true });
  const node = process.version.slice(1);
  write("package.json", JSON.stringify({ type: "module", devDependencies: { node } }));
  write("package-lock.json", lock("1"));
});

afterEach(() => rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

const lock = (version: string) => JSON.stringify({ packages: { "": {}, "node_modules/a": { version } } });
const link = (to: string) => `mkdir -p node_modules/.bin && ln -sf ${to} node_modules/.bin/node`;
const INSTALLS = `${link(process.execPath)}\n`;
const INSTALLS_NO_NODE = 'if [ "$1" = ci ]; then mkdir -p node_modules; else '.concat(link(process.execPath), "; fi\n");

function write(name: string, text: string): void {
  mkdirSync(join(root, name, ".."), { recursive: true });
  writeFileSync(join(root, name), text);
}

function bootstrap(npm: string) {
  write("bin/npm", `#!/bin/sh\necho "$@" >> calls\necho printed by npm\n${npm}`);
  chmodSync(join(root, "bin/npm"), 0o755);
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "scripts/bootstrap.mjs")], {
    encoding: "utf8",
    env: { PATH: [join(root, "bin"), "/usr/bin", "/bin"].join(delimiter) },
  });
  const calls = existsSync(join(root, "calls")) ? readFileSync(join(root, "calls"), "utf8").trim().split("\n") : [];
  rmSync(join(root, "calls"), { force: true });
  return { status, stdout, stderr, calls };
}

const CI = "ci --no-audit --no-fund";
const QUIET = { status: 0, stdout: "", stderr: "", calls: [] };

describe("bootstrap", () => {
  it("installs once, and again when package-lock.json changes", () => {
    expect(bootstrap(INSTALLS)).toMatchObject({ status: 0, stdout: "", calls: [CI] });
    expect(bootstrap(INSTALLS)).toEqual(QUIET);
    write("package-lock.json", lock("2"));
    expect(bootstrap(INSTALLS)).toMatchObject({ status: 0, stdout: "", calls: [CI] });
    expect(bootstrap(INSTALLS)).toEqual(QUIET);
  });

  it("takes what somebody installed with npm, if it is what the lock says", () => {
    write("node_modules/.package-lock.json", lock("1"));
    spawnSync("sh", ["-c", INSTALLS], { cwd: root });
    expect(bootstrap(INSTALLS)).toEqual(QUIET);
    write("package-lock.json", lock("2"));
    expect(bootstrap(INSTALLS)).toMatchObject({ calls: [CI] });
  });

  it("fetches the pinned Node when npm did not run its install script", () => {
    expect(bootstrap(INSTALLS_NO_NODE)).toMatchObject({ status: 0, calls: [CI, "rebuild node"] });
    rmSync(join(root, "node_modules/.bin/node"));
    expect(bootstrap(INSTALLS_NO_NODE)).toMatchObject({ status: 0, calls: [CI, "rebuild node"] });
    expect(bootstrap(INSTALLS_NO_NODE)).toEqual(QUIET);
  });

  it("says what failed, and tries again the next time", () => {
    const failed = bootstrap("exit 7");
    expect(failed).toMatchObject({ status: 1, stdout: "", calls: [CI] });
    expect(failed.stderr).toMatch(/registry.*exit status 7/);
    expect(bootstrap("")).toMatchObject({ status: 1, calls: [CI, "rebuild node"] });
    expect(bootstrap(INSTALLS)).toMatchObject({ status: 0, calls: [CI] });
  });
});

describe("start", () => {
  beforeEach(() => {
    spawnSync("sh", ["-c", INSTALLS], { cwd: root });
    write(
      "src/cli/main.ts",
      `const given: string[] = process.argv.slice(2);
       if (given[1] === "politely") process.on("SIGTERM", () => process.exit(3));
       console.log(given.join(" "));
       if (given[0] === "fail") process.exit(5);
       if (given[0] === "wait") setInterval(() => {}, 1000);`,
    );
  });

  const start = (...given: string[]) => [join(root, "scripts/start.mjs"), ...given];

  it("runs the command line with the arguments given, or the tour, and passes its status on", () => {
    const run = (...given: string[]) => {
      const { status, stdout } = spawnSync(process.execPath, start(...given), { encoding: "utf8" });
      return { status, stdout };
    };
    expect(run("seal", "--json", "a b")).toEqual({ status: 0, stdout: "seal --json a b\n" });
    expect(run()).toEqual({ status: 0, stdout: "tour\n" });
    expect(run("fail")).toEqual({ status: 5, stdout: "fail\n" });
  });

  it.each([
    ["by itself", ["wait"], 128 + 15],
    ["by the command line", ["wait", "politely"], 3],
  ])("passes a signal on, and ends as it is answered %s", async (_, given, status) => {
    const child = spawn(process.execPath, start(...given), { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([status, null]);
  });
});
