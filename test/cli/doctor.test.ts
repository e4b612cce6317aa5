/** `thornkey doctor` and `thornkey repair` as commands: what they say of a vault that runs, stopped, is damaged, or never was. */
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Finding } from "../../src/cli/checks/finding.ts";
import { examine } from "../../src/cli/doctor.ts";
import { halvesOf, ready, thornkey, type Up } from "./lab.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-doctor-test-"));
const at = (name: string) => join(folder, name);
const root = `emulated:${at("chip")}`;
const places = ["--state", at("state"), "--run", at("run")];
let vault: Up | undefined;
let number = 0;

afterAll(async () => {
  vault?.child.kill("SIGTERM");
  await vault?.ended;
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

/** A host in files: nothing of this machine. */
function host(files: { readonly [path: string]: string } = {}): string {
  const path = at(`host-${++number}`);
  const all = {
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/sys/kernel/core_pattern": "core\n",
    "proc/sys/kernel/random/entropy_avail": "256\n",
    ...files,
  };
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return path;
}

/** A copy of the state, to be harmed. */
function copy(): string {
  const path = at(`copy-${++number}`);
  cpSync(at("state"), path, { recursive: true });
  for (const inside of [path, join(path, "roots")]) chmodSync(inside, 0o700); // which a copy is not
  return path;
}

const of = (findings: readonly Finding[], check: string) => findings.filter((finding) => finding.check === check);
const look = (options: Partial<Parameters<typeof examine>[0]> = {}) =>
  examine({ state: at("state"), run: at("run"), root: undefined, host: host(), ...options });

describe("doctor, of a vault", () => {
  it("that was never made: says so, and nothing failed", () => {
    const { status, stdout } = thornkey(["doctor", "--state", at("nothing"), "--run", at("nowhere")]);
    expect(stdout).toMatch(/^warn {2}there is no state in .*nothing — 'thornkey up' makes one/m);
    expect(stdout.split("\n").filter((line) => line !== "" && !/^(ok {2}|warn|fail) {2}\S/.test(line))).toEqual([]);
    expect(status).toBe(0);
  });

  it("that runs: asks it, and does not disturb it", { timeout: 300_000 }, async () => {
    vault = await ready([...places, "--root", root]);
    expect(thornkey(["key", "new", "tls", "--run", at("run"), "--allow", "me"]).status).toBe(0);
    const { status, stdout } = thornkey(["doctor", "--json", ...places]);
    const { healthy, findings } = JSON.parse(stdout) as { healthy: boolean; findings: Finding[] };
    expect({ status, healthy }).toEqual({ status: 0, healthy: true });
    const [pid] = halvesOf(vault, "vault");
    expect(of(findings, "lock")).toMatchObject([{ level: "ok", what: `the vault is process ${pid}` }]);
    expect(of(findings, "vault")).toMatchObject([{ level: "ok", what: "the vault is operational" }]);
    expect(of(findings, "process")).toMatchObject([{ level: "ok" }]);
    expect(of(findings, "root")[0]).toMatchObject({
      level: "ok",
      what: expect.stringMatching(/ATECC508A \w+ answers/),
    });
    expect(of(findings, "root")[1]).toMatchObject({ level: "warn", what: expect.stringContaining("emulated") });
    expect(thornkey(["random", "16", "--json", "--run", at("run")]).status).toBe(0);
    // And a repair does not come between.
    const repair = thornkey(["repair", "--yes", "--state", at("state"), "--root", root]);
    expect(repair).toMatchObject({ status: 1, stderr: expect.stringMatching(/in use by process \d+/) });
    expect(thornkey(["freeze", "--run", at("run")]).status).toBe(0);
    expect(of(await look(), "vault")).toMatchObject([{ level: "warn", what: expect.stringContaining("frozen") }]);
    expect(thornkey(["thaw", "--run", at("run")]).status).toBe(0);
  });

  it("that is stopped: looks into a copy of its database, and asks the root itself", async () => {
    vault?.child.kill("SIGTERM");
    await vault?.ended;
    vault = undefined;
    const before = statSync(at("state/vault.db")).mtimeMs;
    const findings = await look({ root });
    expect(findings.filter(({ level }) => level === "fail")).toEqual([]);
    expect(of(findings, "database")).toMatchObject([{ level: "ok", what: expect.stringContaining("whole") }]);
    expect(of(findings, "root")).toMatchObject([{ level: "ok" }, { level: "warn" }]);
    expect(of(findings, "transport-key")).toMatchObject([{ level: "ok" }]);
    expect(of(findings, "vault")).toMatchObject([{ level: "ok", what: "the vault does not run" }]);
    expect(statSync(at("state/vault.db")).mtimeMs).toBe(before);
  });
});

describe("doctor finds", () => {
  const harms: readonly (readonly [string, string, "warn" | "fail", RegExp, (state: string) => void])[] = [
    [
      "a state that others may read",
      "state-access",
      "fail",
      /others may look into/,
      (state) => chmodSync(state, 0o755),
    ],
    [
      "a file in it that others may read",
      "state-access",
      "fail",
      /header\.copy/,
      (state) => chmodSync(join(state, "header.copy"), 0o644),
    ],
    [
      "a damaged database",
      "database",
      "fail",
      /damaged|cannot be read/,
      (state) => writeFileSync(join(state, "vault.db"), "no database".repeat(1000)),
    ],
    ["a database that is gone", "database", "fail", /is gone/, (state) => rmSync(join(state, "vault.db"))],
    [
      "a header that is not its copy",
      "database",
      "warn",
      /not the same/,
      (state) => writeFileSync(join(state, "header.copy"), "x"),
    ],
    ["a damaged header's copy", "header", "warn", /damaged/, (state) => writeFileSync(join(state, "header.copy"), "x")],
    [
      "a destroyed vault",
      "destroyed",
      "fail",
      /was destroyed: sold/,
      (state) => writeFileSync(join(state, "destroyed"), '{"reason":"sold","done":true}'),
    ],
    [
      "a destruction without its end",
      "destroyed",
      "fail",
      /not finished/,
      (state) => writeFileSync(join(state, "destroyed"), '{"reason":"sold","done":false}'),
    ],
    [
      "an interrupted repair",
      "repair",
      "warn",
      /interrupted/,
      (state) => writeFileSync(join(state, "vault.db.repairing"), ""),
    ],
    [
      "what a repair left",
      "repair",
      "warn",
      /damaged-20260101T000000Z/,
      (state) => mkdirSync(join(state, "damaged-20260101T000000Z"), { mode: 0o700 }),
    ],
    [
      "a transport key that is missing",
      "transport-key",
      "warn",
      /is not in roots/,
      (state) => rmSync(join(state, "roots"), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }),
    ],
  ];
  it.each(harms)("%s", async (_, check, level, what, harm) => {
    const state = copy();
    harm(state);
    const found = of(await look({ state }), check).find((finding) => finding.level === level);
    expect(found?.what).toMatch(what);
    expect(found?.todo).toBeTruthy();
  });

  it("swap, programs that get core dumps, a lack of entropy, a clock that is behind", async () => {
    const files = {
      "proc/swaps":
        "Filename Type Size Used Priority\n/dev/mmcblk0p3 partition 102396 0 -2\n/dev/zram0 partition 1 0 5\n",
      "proc/sys/kernel/core_pattern": "|/usr/share/apport/apport -p%p\n",
      "proc/sys/kernel/random/entropy_avail": "20\n",
    };
    const findings = await look({ host: host(files), now: Date.UTC(1970, 0, 2) });
    expect(of(findings, "swap")).toMatchObject([{ level: "warn", what: "memory is swapped to /dev/mmcblk0p3" }]);
    expect(of(findings, "core-dumps")).toMatchObject([{ level: "warn", what: expect.stringContaining("apport") }]);
    expect(of(findings, "entropy")).toMatchObject([{ level: "warn" }]);
    expect(of(findings, "clock")).toMatchObject([{ level: "fail", todo: expect.stringContaining("set the clock") }]);
  });

  it("a root that does not answer, and one that is another", async () => {
    expect(of(await look({ root: "atecc:unix:/nowhere/chip.sock" }), "root")).toMatchObject([{ level: "fail" }]);
    const memory = at("other-chip");
    const other = await ready(["--state", at("other"), "--run", at("other-run"), "--root", `emulated:${memory}`]);
    other.child.kill("SIGTERM");
    await other.ended;
    const findings = of(await look({ root: `emulated:${memory}` }), "root");
    expect(findings.find(({ level }) => level === "fail")?.what).toMatch(/belongs to the secure element/);
  });

  it("sockets that somebody else could put there", async () => {
    const run = at("open-run");
    mkdirSync(run);
    chmodSync(run, 0o777);
    expect(of(await look({ run }), "sockets")).toMatchObject([{ level: "fail", todo: `chmod go-w ${run}` }]);
  });

  it("a gate that listens and says nothing, without waiting for ever", async () => {
    const run = at("mute-run");
    mkdirSync(run);
    const mute = createServer(() => {}).listen(join(run, "api.sock"));
    expect(of(await look({ run }), "vault")).toHaveLength(1);
    mute.close();
  });
});

describe("repair, as a command", () => {
  let state: string;
  beforeAll(() => {
    state = copy();
    const database = new DatabaseSync(join(state, "vault.db"));
    const row = database.prepare("select id from records where kind = 1 limit 1").get();
    database.exec("pragma secure_delete = on");
    database.prepare("update records set sealed = zeroblob(60) where id = ?").run(row?.id ?? null);
    database.close();
    cpSync(at("chip"), at("chip-2"));
  });
  const repair = (...more: string[]) =>
    thornkey(["repair", "--state", state, "--root", `emulated:${at("chip-2")}`, ...more]);

  it("wants a yes when nobody is there to ask, and shows what it would lose", () => {
    const { status, stderr } = repair();
    expect(status).toBe(2);
    expect(stderr).toMatch(/damage: .*\n/);
    expect(stderr).toMatch(/lost +its record is damaged/);
    expect(stderr).toMatch(/hint: add --yes/);
    expect(repair("--dry-run")).toMatchObject({ status: 0, stdout: expect.stringContaining("would be there") });
  });

  it("repairs with a yes; the vault starts, and doctor is content", { timeout: 300_000 }, async () => {
    const { status, stdout, stderr } = repair("--yes", "--json");
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ repaired: true, unknown: 0 });
    expect(repair("--yes")).toMatchObject({ status: 0, stdout: "nothing is damaged\n" });
    const again = await ready(["--state", state, "--run", at("run-2"), "--root", `emulated:${at("chip-2")}`]);
    const verified = thornkey(["journal", "verify", "--run", at("run-2")]);
    expect(verified, verified.stderr).toMatchObject({ status: 0, stdout: expect.stringContaining("unbroken chain") });
    again.child.kill("SIGTERM");
    await again.ended;
    const { status: health, stdout: lines } = thornkey(["doctor", "--state", state, "--run", at("run-2")]);
    expect(health, lines).toBe(0);
    expect(lines).toMatch(/^warn {2}damaged-\d+T\d+Z: states from before a repair/m);
  });

  it("takes no root for granted, and refuses an old copy with its status", () => {
    expect(thornkey(["repair", "--state", state])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--root"),
    });
    const old = thornkey(["repair", "--yes", "--state", at("state"), "--root", `emulated:${at("chip-2")}`]);
    expect(old).toMatchObject({ status: 5, stderr: expect.stringMatching(/ROLLED_BACK.*\nhint: .*--accept-rollback/) });
  });

  it("is what a start with a damaged state says to do", () => {
    const damaged = copy();
    const file = openSync(join(damaged, "vault.db"), "r+");
    writeSync(file, new Uint8Array(4096).fill(7), 0, 4096, 0);
    closeSync(file);
    expect(readFileSync(join(damaged, "vault.db")).subarray(0, 4)).toEqual(Buffer.from([7, 7, 7, 7]));
    const { status, stderr } = thornkey(["up", "--state", damaged, "--run", at("run-3"), "--root", root]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/STATE_DAMAGED.*\nhint: run 'thornkey repair'/);
  });
});
