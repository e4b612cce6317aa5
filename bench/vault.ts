/**
 * The vault over its own socket: one signature at a time, many under way, with few and with many keys; from its start
 * to `ready`; how much memory. Run alone: `node bench/vault.ts [KEYS]…`
 */
import { spawnSync } from "node:child_process";
import { generateKeyPairSync, sign as nodeSign, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createFrameReader, decodeToGate, encodeToVault, type ToGate } from "../src/operations/protocol.ts";
import { median, memoryOf, openProduct, percentile } from "./product.ts";
import { type BenchRow, shown } from "./rows.ts";

const CALLER = { uid: 0, gid: 0, groups: [], pid: process.pid, front: "bench" } as const;
const ROUNDS = 5;
const UNDER_WAY = 64;

interface VaultSocket {
  call(operation: string, args: unknown): Promise<unknown>;
  close(): void;
}

/** As the gate speaks to it, and nothing else. */
function connectVault(path: string): VaultSocket {
  const socket = connect(path);
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
    close: () => void socket.destroy(),
  };
}

const LOOP = fileURLToPath(new URL("./vault-loop.c", import.meta.url));

/**
 * One request after the other by a client in C, which adds nothing of its own but the way through the kernel.
 *
 * @returns microseconds, medians of the rounds; undefined where there is no C compiler
 */
function oneByOne(folder: string, socket: string, key: string): { p50: number; p99: number } | undefined {
  const [program, frames] = [join(folder, "vault-loop"), join(folder, "frames")];
  if (spawnSync("gcc", ["-O2", "-o", program, LOOP]).status !== 0) return undefined;
  const args = { key, data: new Uint8Array(randomBytes(32)), digested: true, digest: "sha256" };
  const request = { kind: "request", id: 1, caller: 1, operation: "sign", args, requestKey: undefined } as const;
  writeFileSync(
    frames,
    Buffer.concat([encodeToVault({ kind: "caller", caller: 1, facts: CALLER }), encodeToVault(request)]),
  );
  const rounds = Array.from({ length: ROUNDS }, () => {
    const { status, stdout, stderr } = spawnSync(program, [socket, frames, "6000"], { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as { p50: number; p99: number };
  });
  return { p50: median(rounds.map((one) => one.p50)), p99: median(rounds.map((one) => one.p99)) };
}

/** What is aimed at: microseconds, signatures a second. */
const TARGETS = { p50: 80, pipelined: 20_000 } as const;

async function rates(vault: VaultSocket, names: readonly string[]) {
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
    for (let i = 0; i < 3000; i++) {
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
    await Promise.all(Array.from({ length: UNDER_WAY }, worker));
    pipelined.push(count / ((performance.now() - start) / 1000));
  }
  return { p50: median(p50), p99: median(p99), pipelined: median(pipelined) };
}

/** @returns signatures a second of the same machine in one process, without anything around it */
export function nodeSignatures(): number {
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

export async function rowsOfVault(counts: readonly number[] = [10, 1000, 100_000]): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const keys of counts) {
    const product = await openProduct();
    try {
      const making = await product.vault();
      const maker = connectVault(join(product.run, "vault.sock"));
      const policy = { allow: [{ who: "uid:0", rights: ["use"] }] };
      const names = Array.from({ length: keys }, (_, index) => `key-${index}`);
      for (let start = 0; start < keys; start += 500) {
        const some = names.slice(start, start + 500);
        await Promise.all(some.map((name) => maker.call("key.create", { name, type: "p256", policy })));
      }
      maker.close();
      await making.end();
      const running = await product.vault();
      const idle = memoryOf(running.pid);
      const vault = connectVault(join(product.run, "vault.sock"));
      const used = names.filter((_, index) => index % Math.max(1, Math.floor(keys / 10)) === 0).slice(0, 10);
      const { p50, p99, pipelined } = await rates(vault, used);
      vault.close();
      const bare = oneByOne(product.folder, join(product.run, "vault.sock"), used[0] ?? "");
      const target = { what: "target", value: TARGETS.p50 };
      const peer = nodeSignatures();
      const loaded = memoryOf(running.pid);
      const row = (what: string, value: number, unit: string, rest: Partial<BenchRow> = {}): BenchRow => ({
        ...{ bench: "vault", what: `${what}, ${keys} keys`, median: value, unit },
        ...rest,
      });
      rows.push(
        ...(bare
          ? [
              row("sign p256 over its socket, by a client in C", bare.p50, "µs", {
                ...{ beside: target, ratio: TARGETS.p50 / bare.p50, within: bare.p50 <= TARGETS.p50 },
                note: `p99 ${bare.p99.toFixed(0)} µs`,
              }),
            ]
          : []),
        row("sign p256 over its socket, by a client in Node", p50, "µs", { note: `p99 ${p99.toFixed(0)} µs` }),
        row(`sign p256, ${UNDER_WAY} under way`, pipelined, "/s", {
          beside: { what: "node:crypto alone", value: peer },
          ratio: pipelined / peer,
          within: pipelined >= TARGETS.pipelined,
          note: `target ${TARGETS.pipelined}/s`,
        }),
        row("start to ready", running.readyMilliseconds, "ms", { note: "one start" }),
        row("resident after load", loaded.rss, "MB", { note: `idle ${idle.rss.toFixed(0)} MB` }),
        row("proportional after load", loaded.pss, "MB", { note: `idle ${idle.pss.toFixed(0)} MB` }),
      );
    } finally {
      await product.close();
    }
  }
  return rows;
}

if (import.meta.main) {
  const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : undefined;
  for (const line of shown(await rowsOfVault(counts))) console.log(line);
}
