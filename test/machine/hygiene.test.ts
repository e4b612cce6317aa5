import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { HARDENED_NODE_FLAGS, isHardened } from "../../src/machine/hygiene.ts";
import { PLAIN, unprivileged } from "./unprivileged.ts";

const CHILD = fileURLToPath(new URL("hygiene-child.ts", import.meta.url));
const INTRUDER = fileURLToPath(new URL("intruder.ts", import.meta.url));
const user = unprivileged();

const SIGUSR1_BIT = 1n << BigInt(constants.signals.SIGUSR1 - 1);

const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** @returns a process of an ordinary user, and what it says, line by line */
async function start(manner: "hardened" | "as it is", flags: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [...flags, CHILD, manner], {
    ...user,
    cwd: "/",
    env: { ...PLAIN, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  children.push(child);
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the child ended: ${stderr}`);
    return JSON.parse(value) as Record<string, unknown>;
  };
  return { pid: child.pid ?? 0, child, next, first: await next(), stderr: () => stderr };
}

function intrude(pid: number): string[] {
  const { stdout, stderr } = spawnSync(process.execPath, [INTRUDER, String(pid)], {
    ...user,
    cwd: "/",
    encoding: "utf8",
  });
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as string[];
}

/** Yama forbids even a user's own processes to trace each other. */
const yama = existsSync("/proc/sys/kernel/yama/ptrace_scope")
  ? Number(readFileSync("/proc/sys/kernel/yama/ptrace_scope", "latin1"))
  : 0;

describe.skipIf(user === undefined)("a process of an ordinary user", () => {
  it("as it is, lets every other process of that user look into it", async () => {
    const { pid } = await start("as it is");
    expect(intrude(pid)).toEqual(
      ["mem", "environ", "maps", "fd", "readv", "getfd", "ptrace"].slice(0, yama === 0 ? 7 : 4),
    );
    expect(isHardened(pid)).toBe(false);
  });

  it.each([
    ["with the options", HARDENED_NODE_FLAGS],
    ["without them", []],
  ])("hardened, lets none, %s", async (_, flags) => {
    const { pid, first } = await start("hardened", flags);
    expect(intrude(pid)).toEqual([]);
    expect(isHardened(pid)).toBe(true);
    expect(first.measures).toEqual(
      ["dumpable", "no-new-privileges", "core", "umask", "debugger"].map((name) => ({
        name,
        title: expect.any(String),
      })),
    );
    expect(first).toMatchObject({ umask: 0o077, title: "thornkey-test" });
    expect(readFileSync(`/proc/${pid}/limits`, "latin1")).toMatch(/^Max core file size +0 +0 /m);
  });

  it("hardened, still knows its host, and who connects to it", async () => {
    const [open, hardened] = [await start("as it is"), await start("hardened", HARDENED_NODE_FLAGS)];
    expect(hardened.first.host).toEqual(open.first.host);
  });

  it("as it is, opens its debugger for a signal", async () => {
    const { child, stderr } = await start("as it is", ["--inspect-port=0"]);
    child.kill("SIGUSR1");
    while (!stderr().includes("Debugger listening")) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  it("hardened, lives on after the signal and opens nothing", async () => {
    const { child, next, stderr } = await start("hardened", ["--inspect-port=0"]);
    for (let i = 0; i < 3; i++) {
      child.kill("SIGUSR1");
      expect(await next()).toEqual({ signal: true, debugger: null });
      child.stdin.write("?");
      expect(await next()).toEqual({ debugger: null });
    }
    expect(stderr()).toBe("");
  });

  it("hardened and started with the options, never gets the signal: it stays blocked", async () => {
    const { pid, child, next, stderr } = await start("hardened", [...HARDENED_NODE_FLAGS, "--inspect-port=0"]);
    child.kill("SIGUSR1");
    const pending = () => /^ShdPnd:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? "0";
    await vi.waitFor(() => expect(BigInt(`0x${pending()}`) & SIGUSR1_BIT).toBe(SIGUSR1_BIT), { timeout: 60_000 });
    child.stdin.write("?");
    expect(await next()).toEqual({ debugger: null });
    expect(stderr()).toBe("");
  });

  it.each([
    [["--inspect=127.0.0.1:0"], {}],
    [["--heapsnapshot-signal=SIGUSR2"], {}],
    [["--report-on-signal"], {}],
    [["--heap-prof"], {}],
    [[], { NODE_OPTIONS: "--inspect=127.0.0.1:0" }],
    [[], { NODE_OPTIONS: "--require=/dev/null" }],
  ])("does not begin when others can look into it already: %j %j", async (flags, env) => {
    const { first } = await start("hardened", flags, env);
    expect(first).toMatchObject({ refused: "NOT_PERMITTED" });
  });
});

describe("the options of a hardened process", () => {
  it("do what they are there for", () => {
    const program = "try { ({}).__proto__; console.log('reached') } catch { console.log('refused') }";
    const { stdout } = spawnSync(process.execPath, [...HARDENED_NODE_FLAGS, "-e", program], {
      env: PLAIN,
      encoding: "utf8",
    });
    expect(stdout).toBe("refused\n");
  });

  it("let everything load that the house is made of", () => {
    const packages = ["koffi", "fastify", "commander", "@clack/prompts", "age-encryption", "@scure/bip39"];
    const imports = [...packages, "@noble/curves/nist.js", "cborg/length", "node:sqlite"];
    const program = `
      for (const name of ${JSON.stringify(imports)}) await import(name);
      const { default: fastify } = await import("fastify");
      const schema = { body: { type: "object", properties: { a: { type: "string" } } }, response: { 200: { type: "string" } } };
      const front = fastify().post("/", { schema }, async (request) => request.body.a);
      console.log((await front.inject({ method: "POST", url: "/", payload: { a: "works" } })).body);`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [...HARDENED_NODE_FLAGS, "--input-type=module", "-e", program],
      { env: PLAIN, encoding: "utf8", cwd: fileURLToPath(new URL("../..", import.meta.url)) },
    );
    expect(stderr).not.toMatch(/Error/);
    expect(stdout.trim()).toMatch(/^"?works"?$/);
  });
});

describe("whether a process is hardened", () => {
  it("cannot be told of one that is not there, of root's, and from nonsense", () => {
    const proc = mkdtempSync(join(tmpdir(), "thornkey-proc-"));
    const put = (status: string, limits: string) => {
      mkdirSync(join(proc, "7"), { recursive: true });
      writeFileSync(join(proc, "7/status"), status);
      writeFileSync(join(proc, "7/limits"), limits);
      writeFileSync(join(proc, "7/environ"), "");
    };
    expect(isHardened(7, proc)).toBeUndefined();
    const limits = "Max core file size        0                    0                    bytes     \n";
    put("Uid:\t0\t0\t0\t0\nNoNewPrivs:\t1\n", limits);
    expect(isHardened(7, proc)).toBeUndefined();
    put("Uid:\t12345\t12345\t12345\t12345\nNoNewPrivs:\t1\n", limits);
    expect(isHardened(7, proc)).toBe(true);
    put("Uid:\t12345\t12345\t12345\t12345\nNoNewPrivs:\t0\n", limits);
    expect(isHardened(7, proc)).toBe(false);
    put("Uid:\t12345\t12345\t12345\t12345\nNoNewPrivs:\t1\n", limits.replaceAll("0 ", "unlimited "));
    expect(isHardened(7, proc)).toBe(false);
    rmSync(proc, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
});
