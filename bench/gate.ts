/**
 * `node bench/gate.ts [--requests N]`: what one caller waits for an answer through the gate, alone and while another
 * hammers, from a vault that answers at once. The limit: hammered p99 at most three times the idle one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect } from "../src/client/index.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "2000" },
    /** Only for the children of this bench. */
    hammer: { type: "string" },
    run: { type: "string" },
  },
});

const PIPELINED = 32;
const CONCURRENT = 200;
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

if (values.hammer !== undefined) {
  await HAMMERS[values.hammer]?.(values.run ?? "");
  process.stdout.write("ready\n");
} else await main(Number(values.requests));

async function main(requests: number): Promise<void> {
  const run = mkdtempSync(join(tmpdir(), "thornkey-bench-"));
  const helpers = join(import.meta.dirname, "../test/gate");
  const vault = await start([join(helpers, "double-process.ts"), join(run, "vault.sock")]);
  const gate = await start([
    ...["--max-old-space-size=64", "--max-semi-space-size=2"],
    ...[join(helpers, "gate-process.ts"), "--run", run],
  ]);
  const thornkey = await connect({ run });
  const ask = async () => {
    const times: number[] = [];
    for (let i = 0; i < requests; i++) {
      const began = performance.now();
      await thornkey.call("verify", ARGS);
      times.push(performance.now() - began);
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
    return { median: at(0.5), p99: at(0.99) };
  };
  const row = (what: string, { median, p99 }: { median: number; p99: number }, idle?: { p99: number }) => {
    const times = idle === undefined ? "" : `  ${(p99 / idle.p99).toFixed(1)} x idle`;
    console.log(`${what.padEnd(28)} median ${median.toFixed(2)} ms  p99 ${p99.toFixed(2)} ms${times}`);
  };
  await ask(); // the first are slower, as nothing is compiled yet
  const idle = await ask();
  row("idle", idle);
  for (const name of Object.keys(HAMMERS)) {
    const hammer = await start([import.meta.filename, "--hammer", name, "--run", run]);
    await ask();
    row(name, await ask(), idle);
    await end(hammer);
  }
  console.log(`gate: ${residentMegabytes(gate)} MB resident, of which ${residentMegabytes(gate, "RssAnon")} its own`);
  await thornkey.close();
  await end(gate);
  await end(vault);
  rmSync(run, { recursive: true });
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

function residentMegabytes({ pid }: ChildProcess, line = "VmRSS"): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return (Number(new RegExp(`${line}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024).toFixed(0);
}
