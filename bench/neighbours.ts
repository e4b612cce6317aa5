/**
 * What one user waits for a signature over HTTP while another hammers: vault and gate as they run, users of their own,
 * several rounds that take turns. The limit: the quiet one's p99 at most three times what it is alone.
 *
 * `node bench/neighbours.ts [--requests N] [--rounds N]`; needs root, to be several users.
 */
import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect, type Thornkey } from "../src/client/index.ts";
import { median, openProduct, percentile, type Running, startProgram } from "./product.ts";
import type { BenchRow } from "./rows.ts";

const [QUIET, LOUD] = [60_001, 60_002];
export const LIMIT = 3;

/** Connections of the one who hammers, and requests he has on each: both beyond what the gate admits to work. */
const CONNECTIONS = 128;
const PIPELINED = 16;

export interface NeighbourRow {
  readonly what: string;
  /** Milliseconds of the quiet one, medians of the rounds. */
  readonly p50: number;
  readonly p99: number;
  /** p99 / p99 alone. */
  readonly ratio: number | undefined;
  /** Signatures a second the loud one gets. */
  readonly loud: number | undefined;
  readonly within: boolean;
}

const KEYS = {
  quiet: { type: "p256", protection: "wrapped" },
  "p256, wrapped": { type: "p256", protection: "wrapped" },
  "rsa2048, wrapped": { type: "rsa2048", protection: "wrapped" },
  "rsa4096, wrapped": { type: "rsa4096", protection: "wrapped" },
  "p256, resident": { type: "p256", protection: "resident" },
} as const;

const nameOf = (what: string) => what.replaceAll(/\W+/g, "-");

export async function rowsOfNeighbours(): Promise<readonly BenchRow[]> {
  const rows = await benchNeighbours();
  const alone = rows[0]?.p99;
  if (rows.length === 0) process.stderr.write("neighbours: only root can be several users; left out\n");
  return rows.map(({ what, p50, p99, ratio, loud, within }) => ({
    ...{ bench: "neighbours", what: `p99 of a signature ${what}`, median: p99, unit: "ms" },
    beside: ratio === undefined || alone === undefined ? undefined : { what: "alone, at most 3 times", value: alone },
    ratio: ratio === undefined ? undefined : 1 / ratio,
    within: ratio === undefined ? undefined : within,
    note: `p50 ${p50.toFixed(2)} ms${loud === undefined ? "" : `; the loud one gets ${loud.toFixed(0)}/s`}`,
  }));
}

/** @returns nothing when we cannot be several users */
export async function benchNeighbours(requests = 1500, rounds = 5): Promise<readonly NeighbourRow[]> {
  if (process.getuid?.() !== 0) return [];
  const product = await openProduct();
  try {
    await product.vault();
    await product.gate();
    await makeKeys(product.run);
    const person = (uid: number) => startProgram([import.meta.filename, "--person", product.run], { uid });
    const [quiet, loud] = [await person(QUIET), await person(LOUD)];
    const ask = async () => (await command(quiet, { measure: requests })) as number[];
    await ask(); // nothing is compiled yet
    const hammers = Object.keys(KEYS).filter((name) => name !== "quiet");
    const ways = ["alone", ...hammers] as const;
    const results = new Map(
      ways.map((way) => [way, { p50: [] as number[], p99: [] as number[], loud: [] as number[] }]),
    );
    for (let round = 0; round < rounds; round++) {
      for (const way of ways) {
        if (way !== "alone") await command(loud, { hammer: nameOf(way) });
        const times = await ask();
        const result = results.get(way);
        result?.p50.push(percentile(times, 0.5));
        result?.p99.push(percentile(times, 0.99));
        if (way !== "alone") result?.loud.push((await command(loud, { stop: true })) as number);
      }
    }
    const alone = median(results.get("alone")?.p99 ?? []);
    const rows = ways.map((way): NeighbourRow => {
      const { p50, p99, loud } = results.get(way) ?? { p50: [], p99: [], loud: [] };
      const ratio = way === "alone" ? undefined : median(p99) / alone;
      return {
        what: way === "alone" ? "alone" : `beside ${way}`,
        ...{ p50: median(p50), p99: median(p99), ratio },
        loud: way === "alone" ? undefined : median(loud),
        within: ratio === undefined || ratio <= LIMIT,
      };
    });
    await quiet.end();
    await loud.end();
    return rows;
  } finally {
    await product.close();
  }
}

async function makeKeys(run: string): Promise<void> {
  await using thornkey = await connect({ run });
  const allow = [{ who: "any", rights: ["use" as const] }];
  for (const [what, kind] of Object.entries(KEYS)) {
    await thornkey.keys.create({ name: nameOf(what), ...kind, policy: { allow } });
  }
}

type Command = { readonly measure: number } | { readonly hammer: string } | { readonly stop: true };

async function command({ child }: Running, what: Command): Promise<unknown> {
  const answer = once(child, "message");
  child.send(what);
  return (await answer)[0];
}

/** Somebody with a user of his own, who does what he is told. */
async function bePerson(run: string): Promise<void> {
  const thornkey = await connect({ run });
  let stop: (() => number) | undefined;
  process.on("message", async (what: Command) => {
    if ("measure" in what) process.send?.(await measure(thornkey, what.measure));
    else if ("hammer" in what) {
      stop = await hammer(join(run, "api.sock"), what.hammer);
      process.send?.("begun");
    } else process.send?.(stop?.() ?? 0);
  });
  process.on("disconnect", () => process.exit());
  process.stdout.write("ready\n");
}

/** @returns milliseconds of each signature, one after the other */
async function measure(thornkey: Thornkey, count: number): Promise<number[]> {
  const times: number[] = [];
  const data = new Uint8Array(32);
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await thornkey.key("quiet").sign(data);
    times.push(performance.now() - began);
  }
  return times;
}

/** As fast as it gets answers, over connections that all have requests on the way. @returns what stops it and counts */
async function hammer(path: string, key: string): Promise<() => number> {
  const body = '{"data":"AA"}';
  const request = Buffer.from(
    `POST /v1/keys/${key}/sign HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const burst = Buffer.concat(Array.from({ length: PIPELINED }, () => request));
  let [answers, refusals] = [0, 0];
  const began = performance.now();
  const sockets = Array.from({ length: CONNECTIONS }, () => {
    const socket = connectSocket(path);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      const come = text.split("HTTP/1.1 ").length - 1;
      refusals += come - (text.split("HTTP/1.1 200").length - 1);
      answers += come;
      if (come > 0) socket.write(Buffer.concat(Array.from({ length: come }, () => request)));
    });
    socket.write(burst);
    return socket;
  });
  while (answers === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  return () => {
    for (const socket of sockets) socket.destroy();
    if (refusals > 0) process.stderr.write(`${key}: ${refusals} of ${answers} were refused\n`);
    return (answers * 1000) / (performance.now() - began);
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "1500" },
      rounds: { type: "string", default: "5" },
      /** Only for the children of this bench. */
      person: { type: "string" },
    },
  });
  if (values.person !== undefined) await bePerson(values.person);
  else console.table(await benchNeighbours(Number(values.requests), Number(values.rounds)));
}
