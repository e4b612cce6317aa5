import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { mustBeNewEnough } from "../../src/cli/halves.ts";
import { halvesOf, MAIN, ready, thornkey, type Up, up } from "./lab.ts";

const folder = mkdtempSync(join(tmpdir(), "thornkey-up-"));
const [state, run] = [join(folder, "state"), join(folder, "run")];
const at = (chip = "chip") => ["--state", state, "--run", run, "--root", `emulated:${join(folder, chip)}`];
const started = new Set<Up>();

afterAll(async () => {
  for (const one of started) one.child.kill("SIGTERM");
  await Promise.all([...started].map(({ ended }) => ended));
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

it("says ready once, replaces a half that dies, and ends cleanly with SIGTERM", { timeout: 120_000 }, async () => {
  const both = await ready(at());
  started.add(both);
  expect(thornkey(["status", "--run", run]).stdout).toMatch(/^state +operational$/m);
  for (const half of ["vault", "gate"] as const) {
    const [pid = 0, ...more] = halvesOf(both, half);
    expect(more).toEqual([]);
    process.kill(pid, "SIGKILL");
    await both.until(() => both.stderr().includes(`the ${half} ended (SIGKILL), and is started again`));
    await both.until(() => halvesOf(both, half).some((other) => other !== pid));
    expect(thornkey(["random", "16", "--json", "--run", run]).status).toBe(0);
  }
  const pids = [...halvesOf(both, "vault"), ...halvesOf(both, "gate")];
  expect(pids).toHaveLength(2);
  both.child.kill("SIGTERM");
  expect(await both.ended).toBe(0);
  expect(both.stdout()).toBe("ready\n");
  expect(pids.some((pid) => existsSync(`/proc/${pid}`))).toBe(false);
  expect(existsSync(join(run, "api.sock"))).toBe(false);
});

it("waits for its root when that is away as the vault starts again", { timeout: 120_000 }, async () => {
  const socket = join(folder, "chip.sock");
  const startChip = async () => {
    const args = ["emulator", "atecc508a", "--socket", socket, "--memory", join(folder, "chip")];
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "ignore"] });
    await once(child.stdout, "data");
    return child;
  };
  const chip = await startChip();
  const both = await ready(["--state", state, "--run", run, "--root", `atecc:unix:${socket}`]);
  started.add(both);
  chip.kill("SIGKILL");
  await once(chip, "exit");
  for (const pid of halvesOf(both, "vault")) process.kill(pid, "SIGKILL");
  await both.until(() => both.stdout() === "ready\nrefused ROOT_UNAVAILABLE\n");
  const back = await startChip();
  await both.until(() => both.stdout() === "ready\nrefused ROOT_UNAVAILABLE\nready\n");
  expect(thornkey(["random", "16", "--json", "--run", run]).status).toBe(0);
  both.child.kill("SIGTERM");
  expect(await both.ended).toBe(0);
  back.kill();
  await once(back, "exit");
});

it("ends with the status of what the vault refuses, and its reason", { timeout: 120_000 }, async () => {
  const other = up(at("other-chip"));
  expect(await other.ended).toBe(5);
  expect(other.stdout()).toBe("");
  expect(other.stderr()).toMatch(/^thornkey: NOT_BOUND: .*\nhint: /);
});

it("stays when it shall, and lets the status tell why", { timeout: 120_000 }, async () => {
  const other = up([...at("other-chip"), "--stay"]);
  started.add(other);
  await other.until(() => other.stdout() !== "");
  expect(other.stdout()).toBe("refused NOT_BOUND\n");
  const status = thornkey(["status", "--json", "--run", run]);
  expect(JSON.parse(status.stdout)).toMatchObject({ state: "refused", reason: expect.stringContaining("NOT_BOUND") });
  expect(thornkey(["key", "list", "--run", run])).toMatchObject({ status: 5, stdout: "" });
  other.child.kill("SIGINT");
  expect(await other.ended).toBe(0);
});

it("takes no root for granted, and says when there is none", { timeout: 120_000 }, async () => {
  expect(thornkey(["up", "--state", state, "--run", run])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/USAGE.*\nhint: --root/),
  });
  const missing = join(folder, "missing");
  const gone = up(["--state", missing, "--run", run, "--root", "atecc:unix:/nowhere/chip.sock"]);
  expect(await gone.ended).toBe(6);
  expect(gone.stderr()).toContain("ROOT_UNAVAILABLE");
  expect(thornkey(["status", "--run", run])).toMatchObject({ status: 6, stderr: expect.stringContaining("hint:") });
});

it("hands the arguments of a half on to it, and its status back", () => {
  expect(thornkey(["vault", "--state", state])).toMatchObject({ status: 2, stderr: expect.stringContaining("--root") });
  expect(thornkey(["gate", "--colour"])).toMatchObject({ status: 2, stderr: expect.stringContaining("--colour") });
});

it("says of an old Node that it is too old", () => {
  for (const version of ["20.19.0", "22.13.0", "24.6.0"]) {
    expect(() => mustBeNewEnough(version)).toThrowError(expect.objectContaining({ code: "NOT_SUPPORTED" }));
  }
  for (const version of ["24.7.0", "24.21.0", "26.0.0"]) expect(() => mustBeNewEnough(version)).not.toThrow();
});
