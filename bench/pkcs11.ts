/**
 * Signatures through PKCS#11: the same C loop before our gate and before Debian's `p11-kit server` with SoftHSM2, in
 * turns. Both servers run in sessions of their own, because Linux schedules by sessions.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect } from "../src/client/index.ts";
import { median, openProduct, type Product } from "./product.ts";
import type { BenchRow } from "./rows.ts";

const SOURCE = fileURLToPath(new URL("./pkcs11-loop.c", import.meta.url));
const LIBRARIES = "/usr/lib";
const ROUNDS = 5;
const SECONDS = 2;

interface Cell {
  readonly kind: "ec" | "rsa";
  readonly threads: number;
  readonly processes: number;
  /** How many times as fast as the peer we want to be. */
  readonly target: number;
}

const CELLS: readonly Cell[] = [
  { kind: "ec", threads: 1, processes: 1, target: 1 },
  { kind: "ec", threads: 4, processes: 1, target: 1.5 },
  { kind: "ec", threads: 1, processes: 4, target: 1 },
  { kind: "rsa", threads: 1, processes: 1, target: 2 },
  { kind: "rsa", threads: 4, processes: 1, target: 2 },
  { kind: "rsa", threads: 1, processes: 4, target: 1 },
];
const NAMES = { ec: "P-256", rsa: "RSA-2048" } as const;

interface Token {
  readonly env: { readonly [name: string]: string };
  readonly pin: string | undefined;
  end(): Promise<void>;
}

interface Measured {
  readonly rate: number;
  readonly p50: number;
}

export async function rowsOfPkcs11(): Promise<BenchRow[]> {
  const module = clientModule();
  const softHsm = find("libsofthsm2.so");
  const missing = [
    ...(module === undefined ? ["p11-kit-modules"] : []),
    ...(softHsm === undefined ? ["softhsm2"] : []),
    ...["p11-kit", "gcc", "pkcs11-tool"].filter((program) => spawnSync("which", [program]).status !== 0),
  ];
  if (module === undefined || softHsm === undefined || missing.length > 0) {
    process.stderr.write(`pkcs11: skipped, missing: ${missing.join(", ")}\n`);
    return [];
  }
  const product = await openProduct();
  try {
    const loop = buildLoop(product.folder);
    const ours = await ourToken(product);
    const theirs = await theirToken(product.folder, softHsm);
    try {
      const rows: BenchRow[] = [];
      for (const cell of CELLS) {
        const results = { ours: [] as Measured[], theirs: [] as Measured[] };
        for (let round = 0; round < ROUNDS; round++) {
          results.ours.push(await measure(loop, module, ours, cell));
          results.theirs.push(await patiently(() => measure(loop, module, theirs, cell)));
        }
        rows.push(rowOf(cell, results.ours, results.theirs));
      }
      return rows;
    } finally {
      await theirs.end();
      await ours.end();
    }
  } finally {
    await product.close();
  }
}

function rowOf({ kind, threads, processes, target }: Cell, ours: Measured[], theirs: Measured[]): BenchRow {
  const rate = median(ours.map((one) => one.rate));
  const peer = median(theirs.map((one) => one.rate));
  // Neighbours in time shared the machine's mood.
  const ratio = median(ours.map((one, round) => one.rate / (theirs[round]?.rate ?? Number.NaN)));
  const who = processes > 1 ? `${processes} processes` : threads > 1 ? `${threads} threads` : "1 thread";
  const p50 = (all: Measured[]) => median(all.map((one) => one.p50)).toFixed(0);
  return {
    bench: "pkcs11",
    what: `${NAMES[kind]} sign, ${who}`,
    median: rate,
    unit: "/s",
    beside: { what: "C p11-kit server, SoftHSM2", value: peer },
    ratio,
    within: ratio >= target,
    note: `target ${target}×; p50 ${p50(ours)} µs, peer ${p50(theirs)} µs`,
  };
}

/** @returns p11-kit's client, if it is installed */
export function clientModule(): string | undefined {
  return find("p11-kit-client.so");
}

/** @returns the C program that signs in a loop */
export function buildLoop(folder: string): string {
  const loop = join(folder, "loop");
  const built = spawnSync("gcc", ["-O2", "-o", loop, SOURCE, "-ldl", "-lpthread"], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(built.stderr);
  return loop;
}

export function find(name: string): string | undefined {
  const folders = [LIBRARIES, ...readdirSync(LIBRARIES).map((entry) => join(LIBRARIES, entry))];
  return folders
    .flatMap((folder) => ["", "pkcs11", "softhsm"].map((inner) => join(folder, inner, name)))
    .find((path) => existsSync(path));
}

async function ourToken(product: Product): Promise<Token> {
  // Each in a session of its own, as systemd starts them, and as the peer is.
  const [vaultHalf, gateHalf] = [await product.vault(), await product.gate()];
  const vault = await connect({ run: product.run });
  const policy = { allow: [{ who: "any", rights: ["use" as const] }] };
  await vault.keys.create({ name: "ec", type: "p256", policy });
  await vault.keys.create({ name: "rsa", type: "rsa2048", policy });
  await vault.close();
  return {
    env: { P11_KIT_SERVER_ADDRESS: `unix:path=${join(product.run, "pkcs11.sock")}` },
    pin: undefined,
    async end() {
      await gateHalf.end();
      await vaultHalf.end();
    },
  };
}

async function theirToken(folder: string, softHsm: string): Promise<Token> {
  const [tokens, socket, config] = ["tokens", "softhsm.sock", "softhsm2.conf"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(tokens);
  writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { ...process.env, SOFTHSM2_CONF: config } as { [name: string]: string };
  const must = (program: string, args: readonly string[]) => {
    const { status, stderr } = spawnSync(program, args, { env, encoding: "utf8" });
    if (status !== 0) throw new Error(`${program}: ${stderr}`);
  };
  const pins = ["--pin", PIN, "--so-pin", PIN];
  must("softhsm2-util", ["--module", softHsm, "--init-token", "--free", "--label", "peer", ...pins]);
  for (const [label, type] of [
    ["ec", "EC:prime256v1"],
    ["rsa", "rsa:2048"],
  ] as const) {
    must("pkcs11-tool", [
      ...["--module", softHsm, "--login", "--pin", PIN, "--keypairgen"],
      ...["--key-type", type, "--label", label, "--id", label === "ec" ? "01" : "02"],
    ]);
  }
  const server = spawn("p11-kit", ["server", "-f", "-n", socket, "--provider", softHsm, "pkcs11:token=peer"], {
    env,
    stdio: "ignore",
    detached: true,
  });
  while (!existsSync(socket)) {
    if (server.exitCode !== null) throw new Error("p11-kit server ended");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { env: { P11_KIT_SERVER_ADDRESS: `unix:path=${socket}` }, pin: PIN, end: () => end(server) };
}

const PIN = "1234";

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

/** SoftHSM2 sometimes shows no token to one of several processes that begin at once. */
async function patiently<T>(measure: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await measure();
    } catch (error) {
      if (attempt === 10) throw error;
    }
  }
}

async function measure(loop: string, module: string, token: Token, cell: Cell): Promise<Measured> {
  const { kind, threads, processes } = cell;
  const results = await Promise.all(
    Array.from({ length: processes }, () => runLoop(loop, [module, kind, kind, `${threads}`, `${SECONDS}`], token)),
  );
  return {
    rate: results.reduce((sum, one) => sum + one.operations / one.seconds, 0),
    p50: median(results.map((one) => one.p50)),
  };
}

interface LoopResult {
  readonly operations: number;
  readonly seconds: number;
  readonly p50: number;
}

export async function runLoop(
  loop: string,
  args: readonly string[],
  { env, pin }: Pick<Token, "env" | "pin">,
): Promise<LoopResult> {
  const child = spawn(loop, [...args, ...(pin === undefined ? [] : [pin])], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const [status] = (await once(child, "close")) as [number | null];
  if (status !== 0) throw new Error(`the loop ended with ${status}: ${err}`);
  return JSON.parse(out) as LoopResult;
}
