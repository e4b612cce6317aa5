/**
 * `node bench/gate.ts [--requests N]`: what one caller waits for an answer through the gate. From a vault that answers
 * at once: alone and while another connection hammers, p99 at most three times the idle one. And a signature over HTTP
 * from the vault as it is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect } from "../src/client/index.ts";
import { median, memoryOf, openProduct, percentile } from "./product.ts";
import { type BenchRow, shown } from "./rows.ts";
import { nodeSignatures } from "./vault.ts";

const PIPELINED = 32;
const CONCURRENT = 200;
const LIMIT = 3;
const ARGS = { key: "tls", data: new Uint8Array(32), signature: new Uint8Array(64) } as const;

/** How somebody hammers. Each never ends by itself. */
const HAMMERS: { readonly [name: string]: (run: string) => Promise<void> } = {
  async "one connection, pipelined"(run) {
    const body = '{"data":"AA","signature":"AAAA"}';
    const request = `POST /v1/keys/tls/verify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const socket = connectSocket(join(run, "api.sock"));
    socket.on("data", (chunk) => socket.write(request.repeat(chunk.toString("latin1").split("HTTP/1.1 ").length - 1)));
    socket.write(request.repeat(PIPELINED));
  },
  async "our client, 200 at a time"(run) {
    const thornkey = await connect({ run });
    for (let i = 0; i < CONCURRENT; i++) {
      void (async () => {
        for (;;) await thornkey.call("verify", ARGS);
      })();
    }
  },
};

export async function rowsOfGate({ requests = 2000 }: { requests?: number } = {}): Promise<readonly BenchRow[]> {
  return [...(await beforeDouble(requests)), ...(await beforeVault(requests))];
}

async function beforeDouble(requests: number): Promise<BenchRow[]> {
  const run = mkdtempSync(join(tmpdir(), "thornkey-bench-"));
  const helpers = join(import.meta.dirname, "../test/gate");
  const vault = await start([join(helpers, "double-process.ts"), join(run, "vault.sock")]);
  const gate = await start([
    ...["--max-old-space-size=64", "--max-semi-space-size=2"],
    ...[join(helpers, "gate-process.ts"), "--run", run],
  ]);
  const thornkey = await connect({ run });
  const ask = () => timesOf(requests, () => thornkey.call("verify", ARGS));
  await ask(); // the first are slower, as nothing is compiled yet
  const idle = percentile(await ask(), 0.99);
  const rows: BenchRow[] = [{ bench: "gate", what: "p99 of a request, vault double", median: idle, unit: "ms" }];
  for (const name of Object.keys(HAMMERS)) {
    const hammer = await start([import.meta.filename, "--hammer", name, "--run", run]);
    await ask();
    const p99 = percentile(await ask(), 0.99);
    rows.push({
      ...{ bench: "gate", what: `the same beside ${name}`, median: p99, unit: "ms", ratio: idle / p99 },
      beside: { what: `alone, at most ${LIMIT} times`, value: idle },
      within: p99 <= LIMIT * idle,
      note: "the same user",
    });
    await end(hammer);
  }
  await thornkey.close();
  await end(gate);
  await end(vault);
  rmSync(run, { recursive: true });
  return rows;
}

/** Signatures over HTTP by the vault as it is, and what both processes take. */
async function beforeVault(requests: number): Promise<BenchRow[]> {
  const product = await openProduct();
  try {
    const [vault, gate] = [await product.vault(), await product.gate()];
    const idle = { vault: memoryOf(vault.pid), gate: memoryOf(gate.pid) };
    const thornkey = await connect({ run: product.run });
    const allow = [{ who: "any", rights: ["use" as const] }];
    await thornkey.keys.create({ name: "tls", type: "p256", policy: { allow } });
    const data = new Uint8Array(32);
    const sign = () => thornkey.key("tls").sign(data);
    await timesOf(requests, sign);
    const times = await timesOf(requests, sign);
    const rates: number[] = [];
    for (let round = 0; round < 3; round++) {
      const began = performance.now();
      let left = requests * 2;
      const worker = async () => {
        while (left-- > 0) await sign();
      };
      await Promise.all(Array.from({ length: 32 }, worker));
      rates.push((requests * 2 * 1000) / (performance.now() - began));
    }
    const peer = nodeSignatures();
    const loaded = { vault: memoryOf(vault.pid), gate: memoryOf(gate.pid) };
    await thornkey.close();
    const row = (what: string, value: number, unit: string, note: string): BenchRow => ({
      ...{ bench: "gate", what, median: value, unit, note },
    });
    return [
      row("sign p256 over HTTP", median(times), "ms", `p99 ${percentile(times, 0.99).toFixed(2)} ms`),
      {
        ...row("sign p256 over HTTP, 32 at a time", median(rates), "/s", "our client in one process"),
        beside: { what: "node:crypto alone", value: peer },
        ratio: median(rates) / peer,
      },
      ...(["vault", "gate"] as const).flatMap((half) => [
        row(`${half} resident after load`, loaded[half].rss, "MB", `idle ${idle[half].rss.toFixed(0)} MB`),
        row(`${half} proportional after load`, loaded[half].pss, "MB", `idle ${idle[half].pss.toFixed(0)} MB`),
      ]),
    ];
  } finally {
    await product.close();
  }
}

/** @returns milliseconds of each, one after the other */
async function timesOf(count: number, once: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await once();
    times.push(performance.now() - began);
  }
  return times;
}

async function start(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "2000" },
      /** Only for the children of this bench. */
      hammer: { type: "string" },
      run: { type: "string" },
    },
  });
  if (values.hammer !== undefined) {
    await HAMMERS[values.hammer]?.(values.run ?? "");
    process.stdout.write("ready\n");
  } else for (const line of shown(await rowsOfGate({ requests: Number(values.requests) }))) console.log(line);
}
