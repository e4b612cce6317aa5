/** A thousand PKCS#11 programs that are connected and ask nothing: what they cost, and what the next one feels of them. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { connect } from "../src/client/index.ts";
import { openWireClient, type WireClient } from "../test/gate/pkcs11/wire-client.ts";
import { buildLoop, clientModule, runLoop } from "./pkcs11.ts";
import { median, memoryOf, openProduct } from "./product.ts";
import type { BenchRow } from "./rows.ts";

const CONNECTIONS = 1000;
const ROUNDS = 5;
const SECONDS = 1;
const MEGABYTES = 200;
const TIMES_IDLE = 2;

export async function rowsOfConnections(): Promise<BenchRow[]> {
  const module = clientModule();
  if (module === undefined || spawnSync("which", ["gcc"]).status !== 0) {
    process.stderr.write("connections: skipped, missing: p11-kit-modules or gcc\n");
    return [];
  }
  const product = await openProduct();
  try {
    const vault = await product.vault();
    const gate = await product.gate();
    const client = await connect({ run: product.run });
    await client.keys.create({ name: "ec", type: "p256", policy: { allow: [{ who: "any", rights: ["use"] }] } });
    await client.close();
    const socket = join(product.run, "pkcs11.sock");
    const loop = buildLoop(product.folder);
    const token = { env: { P11_KIT_SERVER_ADDRESS: `unix:path=${socket}` }, pin: undefined };
    const latency = async () => (await runLoop(loop, [module, "ec", "ec", "1", `${SECONDS}`], token)).p50;
    await latency(); // what is compiled only when it is used often, is

    const [idle, crowded]: [number[], number[]] = [[], []];
    let connected = 0;
    for (let round = 0; round < ROUNDS; round++) {
      idle.push(await latency());
      const clients: WireClient[] = [];
      for (let each = 0; each < CONNECTIONS; each++) {
        const one = await openWireClient(socket);
        await one.call("OpenSession", 0, 4);
        clients.push(one);
      }
      crowded.push(await latency());
      connected = Math.max(connected, memoryOf(gate.pid).rss);
      for (const one of clients) one.close();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const ratio = median(crowded.map((one, round) => one / (idle[round] ?? Number.NaN)));
    const what = `${CONNECTIONS.toLocaleString("en")} connections open`;
    return [
      {
        ...{ bench: "connections", what: `P-256 sign of one more, ${what}`, median: median(crowded), unit: "µs" },
        ...{ beside: { what: "idle", value: median(idle) }, ratio, within: ratio <= TIMES_IDLE },
        note: `target ${TIMES_IDLE}×; p50`,
      },
      {
        ...{ bench: "connections", what: `gate resident, ${what}`, median: connected, unit: "MB" },
        ...{ beside: { what: "target", value: MEGABYTES }, ratio: connected / MEGABYTES },
        ...{
          within: connected <= MEGABYTES,
          note: `vault ${memoryOf(vault.pid).rss.toFixed(0)} MB; an open session each`,
        },
      },
    ];
  } finally {
    await product.close();
  }
}
