/** Vault and gate as they run, as a user without rights; and a program of the same user that wants what is in them. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import { isHardened } from "../../src/machine/hygiene.ts";
import { isRoot, NOBODY, unprivileged } from "../machine/unprivileged.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const INTRUDER = fileURLToPath(new URL("../machine/intruder.ts", import.meta.url));
const HALVES = ["vault", "gate"] as const;
type Half = (typeof HALVES)[number];

const user = unprivileged();
const folder = mkdtempSync(join(tmpdir(), "thornkey-hygiene-"));
const [run, state, here] = ["run", "state", "here"].map((name) => join(folder, name)) as [string, string, string];
const running = new Map<Half, ChildProcess>();
let stderr = "";

const ARGS: { readonly [Name in Half]: readonly string[] } = {
  vault: ["--state", state, "--run", run, "--root", `emulated:${join(folder, "silicon/chip")}`],
  gate: ["--run", run],
};

/** Starts a program as an ordinary user, who would have core dumps of any size. */
function spawnAsUser(args: readonly string[]): ChildProcess {
  const script = 'ulimit -c unlimited 2>/dev/null || ulimit -c "$(ulimit -Hc)"; exec "$0" "$@"';
  const env = { ...user?.env, THORNKEY_MARK: "environment-of-the-halves" };
  return spawn("bash", ["-c", script, process.execPath, ...args], {
    ...{ ...user, env, cwd: here, stdio: ["ignore", "pipe", "pipe"] },
  });
}

/** As a service manager does: `thornkey vault`, which becomes the vault. */
async function start(half: Half): Promise<void> {
  const child = spawnAsUser([MAIN, half, ...ARGS[half]]);
  running.set(half, child);
  child.stderr?.on("data", (chunk) => (stderr += chunk));
  const exited = once(child, "exit");
  const [said] = await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), exited]);
  if (String(said) !== "ready\n") throw new Error(`${half}: ${said} ${stderr}`);
}

const pidOf = (half: Half) => running.get(half)?.pid ?? 0;

async function mustServe(): Promise<void> {
  await using thornkey = await connect({ run });
  expect((await thornkey.keys.create({ name: `k${++keys}`, type: "p256" })).publicKey).toBeDefined();
}
let keys = 0;

beforeAll(async () => {
  for (const path of [folder, run, state, here, join(folder, "silicon")]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    if (isRoot) chownSync(path, NOBODY, NOBODY);
  }
  if (user === undefined) return;
  for (const half of HALVES) await start(half);
});
afterAll(() => {
  for (const child of running.values()) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

describe.skipIf(user === undefined).each(HALVES)("the %s", (half) => {
  it("is closed for every other program of its user, and goes on serving", async () => {
    const { stdout, stderr: why } = spawnSync(process.execPath, [INTRUDER, String(pidOf(half))], {
      ...user,
      cwd: "/",
      encoding: "utf8",
    });
    expect(JSON.parse(stdout || why)).toEqual([]);
    expect(isHardened(pidOf(half))).toBe(true);
    await mustServe();
  });

  it("opens no debugger for a signal, and goes on serving", async () => {
    for (let i = 0; i < 3; i++) process.kill(pidOf(half), "SIGUSR1");
    await mustServe();
    const debuggers = readFileSync("/proc/net/tcp", "latin1")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      // Local address, state LISTEN, uid: proc_net_tcp.
      .filter(([, local, , status]) => status === "0A" && local?.endsWith(":240D"))
      .filter(([, , , , , , , uid]) => Number(uid) === (user?.uid ?? process.getuid?.()));
    expect(debuggers).toEqual([]);
    expect(stderr).not.toContain("Debugger");
  });
});

describe.skipIf(user === undefined)("what the vault starts", () => {
  it.skipIf(!isRoot)("inherits none of its descriptors", () => {
    const children = readFileSync(`/proc/${pidOf("vault")}/task/${pidOf("vault")}/children`, "latin1").trim();
    expect(children).toMatch(/^\d+$/);
    const links = (pid: string | number) =>
      readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        try {
          return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
        } catch {
          return [];
        }
      });
    expect(links(pidOf("vault")).filter((path) => path.startsWith(state))).not.toEqual([]);
    expect(links(children).filter((path) => path.startsWith(state) || path.startsWith(run))).toEqual([]);
    expect(links(children).filter((path) => path.startsWith("socket:")).length).toBeLessThan(8);
  });
});

describe.skipIf(user === undefined)("a process that crashes", () => {
  const cores = () => readdirSync(here).filter((name) => name.startsWith("core"));

  it("as others are, leaves its memory in a file, where the kernel is set so", async (context) => {
    const child = spawnAsUser(["-e", "console.log(1); setInterval(() => {}, 1000)"]);
    await once(child.stdout as NodeJS.ReadableStream, "data");
    child.kill("SIGSEGV");
    await once(child, "exit");
    if (cores().length === 0) return context.skip(); // somewhere else, or not at all: nothing to compare with
    for (const name of cores()) rmSync(join(here, name));
  });

  it.each([
    ["vault", "SIGSEGV"],
    ["vault", "SIGABRT"],
    ["gate", "SIGSEGV"],
    ["gate", "SIGABRT"],
  ] as const)("as the %s is, leaves nothing after %s, and is there again", async (half, signal) => {
    const child = running.get(half) as ChildProcess;
    child.kill(signal);
    expect(await once(child, "exit")).toEqual([null, signal]);
    expect(cores()).toEqual([]);
    await start(half);
    await mustServe();
  });
});
