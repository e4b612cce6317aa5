/**
 * The vault over its own socket: one signature at a time, many under way, with few and with many keys; from its start
 * to `ready`; how much memory. Run alone: `node bench/vault.ts [KEYS]…`
 */
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, sign as nodeSign, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createFrameReader, decodeToGate, encodeToVault, type ToGate } from "../src/operations/protocol.ts";

const MAIN = fileURLToPath(new URL("../dist/vault/main.js", import.meta.url));
const CALLER = { uid: 0, gid: 0, groups: [], pid: process.pid, front: "bench" } as const;

interface Vault {
  readonly child: ChildProcess;
  readonly readyMilliseconds: number;
  call(operation: string, args: unknown): Promise<unknown>;
  close(): Promise<void>;
}

async function startVault(folder: string): Promise<Vault> {
  const run = join(folder, "run");
  const started = performance.now();
  const child = spawn(
    process.execPath,
    [
      // As `up` starts it.
      ...["--disable-sigusr1", "--max-old-space-size=256", "--max-semi-space-size=2"],
      ...[MAIN, "--state", join(folder, "state"), "--run", run],
      ...["--root", `emulated:${join(folder, "chip.memory")}`],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on("data", (chunk: Buffer) => (chunk.includes("ready") ? resolve() : reject(new Error(`${chunk}`))));
    child.once("exit", () => reject(new Error("the vault did not start")));
  });
  const readyMilliseconds = performance.now() - started;
  const socket: Socket = connect(join(run, "vault.sock"));
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const reader = createFrameReader();
  socket.on("data", (chunk) =>
    reader.push(chunk as Uint8Array, (frame) => {
      const message: ToGate = decodeToGate(frame);
      if (message.kind === "reply") waiting.get(message.id)?.resolve(message.value);
      else if (message.kind === "failure") waiting.get(message.id)?.reject(message.error);
      if ("id" in message) waiting.delete(message.id);
    }),
  );
  socket.write(encodeToVault({ kind: "caller", caller: 1, facts: CALLER }));
  let last = 0;
  let outgoing: Uint8Array[] = [];
  return {
    child,
    readyMilliseconds,
    call: (operation, args) =>
      new Promise((resolve, reject) => {
        const id = ++last;
        waiting.set(id, { resolve, reject });
        if (outgoing.length === 0) {
          queueMicrotask(() => {
            socket.write(Buffer.concat(outgoing));
            outgoing = [];
          });
        }
        outgoing.push(encodeToVault({ kind: "request", id, caller: 1, operation, args, requestKey: undefined }));
      }),
    async close() {
      socket.destroy();
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Resident and proportional size of a process, in MB. */
export function memoryOf(pid: number): { rss: number; pss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1000;
  return { rss: field("Rss"), pss: field("Pss") };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const percentile = (values: readonly number[], p: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * p)] ?? Number.NaN;

const ROUNDS = 5;

async function rates(vault: Vault, names: readonly string[]) {
  const digest = new Uint8Array(randomBytes(32));
  const args = (index: number) => ({
    key: names[index % names.length],
    data: digest,
    digested: true,
    digest: "sha256",
  });
  for (let i = 0; i < 3000; i++) await vault.call("sign", args(i)); // warm
  const p50: number[] = [];
  const p99: number[] = [];
  const pipelined: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const times: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const start = performance.now();
      await vault.call("sign", args(i));
      times.push((performance.now() - start) * 1000);
    }
    p50.push(median(times));
    p99.push(percentile(times, 0.99));
    const count = 20_000;
    const start = performance.now();
    let next = 0;
    const worker = async () => {
      while (next < count) await vault.call("sign", args(next++));
    };
    await Promise.all(Array.from({ length: 64 }, worker));
    pipelined.push(count / ((performance.now() - start) / 1000));
  }
  return { p50: median(p50), p99: median(p99), pipelined: median(pipelined) };
}

/** What the same machine signs in one process, without anything around it. */
function peer(): number {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const data = randomBytes(32);
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    for (let i = 0; i < 5000; i++) nodeSign("sha256", data, privateKey);
    rounds.push(5000 / ((performance.now() - start) / 1000));
  }
  return median(rounds);
}

export async function benchVault(counts: readonly number[] = [10, 1000, 100_000]): Promise<void> {
  process.stdout.write(`peer: node:crypto in one process signs ${peer().toFixed(0)}/s\n`);
  for (const keys of counts) {
    const folder = await mkdtemp(join(tmpdir(), "thornkey-bench-"));
    try {
      let vault = await startVault(folder);
      const policy = { allow: [{ who: "uid:0", rights: ["use"] }] };
      const names = Array.from({ length: keys }, (_, index) => `key-${index}`);
      for (let start = 0; start < keys; start += 500) {
        const some = names.slice(start, start + 500);
        await Promise.all(some.map((name) => vault.call("key.create", { name, type: "p256", policy })));
      }
      await vault.close();
      vault = await startVault(folder);
      const used = names.filter((_, index) => index % Math.max(1, Math.floor(keys / 10)) === 0).slice(0, 10);
      const spread = await rates(vault, used);
      const { rss, pss } = memoryOf(vault.child.pid ?? 0);
      process.stdout.write(
        `${keys} keys: sign p50 ${spread.p50.toFixed(0)} us, p99 ${spread.p99.toFixed(0)} us, ` +
          `64 under way ${spread.pipelined.toFixed(0)}/s; start to ready ${vault.readyMilliseconds.toFixed(0)} ms; ` +
          `resident ${rss.toFixed(0)} MB, proportional ${pss.toFixed(0)} MB\n`,
      );
      await vault.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await benchVault(process.argv.length > 2 ? process.argv.slice(2).map(Number) : undefined);
}
