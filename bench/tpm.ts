/**
 * Signatures of P-256 by a TPM (swtpm): our codec before the same command replayed from C, and the root and the whole
 * product before what else signs with a TPM. All paths take turns, as swtpm serves one program at a time and the machine
 * has moods.
 *
 * `node bench/tpm.ts [--rounds N] [--seconds N] [PATH…]`; a path is a name of {@link PATHS}.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { connect } from "../src/client/index.ts";
import { systemClock } from "../src/machine/clock.ts";
import { Create, EvictControl, Load, Sign } from "../src/roots/tpm/commands.ts";
import { ALG, HANDLE, ST } from "../src/roots/tpm/constants.ts";
import { type Authorisation, type Entity, plainEntity } from "../src/roots/tpm/frame.ts";
import { findParent, makeParent, type Parent } from "../src/roots/tpm/parent.ts";
import { openTpmRoot } from "../src/roots/tpm/root.ts";
import { nameOf } from "../src/roots/tpm/structures.ts";
import { KEYS } from "../src/roots/tpm/templates.ts";
import { type Tpm, tpmOver } from "../src/roots/tpm/tpm.ts";
import { openTransport, type TpmTransport } from "../src/roots/tpm/transport.ts";
import { HAS_SWTPM, openTpmLab, type SoftwareTpm, type TpmLab } from "../test/roots/tpm/lab.ts";
import { clientModule, runLoop } from "./pkcs11.ts";
import { median, openProduct } from "./product.ts";
import { type BenchRow, shown } from "./rows.ts";
import { loopIn, PERSISTENT, type Round, type Starter, shared } from "./tpm-paths.ts";
import { signTool, theirModule } from "./tpm-peers.ts";

const REPLAY = fileURLToPath(new URL("./tpm-replay.c", import.meta.url));
const NOTHING = new Uint8Array(0);
const IN_FLIGHT = 64;
const DIGEST = new Uint8Array(createHash("sha256").update("a message").digest());

/** What a path is compared with, and how near or far it should be. */
interface Claim {
  readonly peer: string;
  readonly target?: number;
}

const PATHS: { readonly [path: string]: { readonly what: string; readonly claims?: readonly Claim[] } } = {
  c: { what: "the command replayed from C" },
  codec: { what: "codec, password", claims: [{ peer: "c", target: 0.95 }] },
  salted: { what: "codec, salted session", claims: [{ peer: "c" }] },
  root: { what: `root, ${IN_FLIGHT} at a time`, claims: [{ peer: "c" }] },
  keys: { what: `root, two keys in turn, ${IN_FLIGHT} at a time`, claims: [{ peer: "c" }] },
  product: {
    what: "product by PKCS#11, 1 thread",
    claims: [{ peer: "theirs", target: 5 }, { peer: "tool", target: 20 }, { peer: "c" }],
  },
  product4: {
    what: "product by PKCS#11, 4 threads",
    claims: [{ peer: "theirs", target: 5 }, { peer: "tool", target: 20 }, { peer: "c" }],
  },
  http: { what: "product by HTTP, 32 at a time", claims: [{ peer: "tool", target: 20 }] },
  theirs: { what: "tpm2-pkcs11, 1 thread" },
  tool: { what: "tpm2_sign, a process each" },
};

export interface TpmBenchOptions {
  readonly rounds?: number;
  readonly seconds?: number;
  readonly paths?: readonly string[];
}

/** As the vault is started (`cli/halves.ts`): codec and root run in it, and a heap that is collected by other threads costs them. */
const AS_THE_VAULT = ["--max-old-space-size=256", "--max-semi-space-size=2", "--single-threaded-gc"];

/** Measures in a process with the vault's flags. */
export async function rowsOfTpm({ rounds = 5, seconds = 2, paths = [] }: TpmBenchOptions = {}): Promise<BenchRow[]> {
  const args = ["--rounds", `${rounds}`, "--seconds", `${seconds}`, "--json", ...paths];
  const { status, stdout } = spawnSync(process.execPath, [...AS_THE_VAULT, import.meta.filename, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`the bench of the TPM ended with ${status}`);
  return JSON.parse(stdout) as BenchRow[];
}

async function rowsHere({ rounds, seconds, paths }: Required<TpmBenchOptions>): Promise<BenchRow[]> {
  const missing = [...(HAS_SWTPM ? [] : ["swtpm"]), ...(spawnSync("which", ["gcc"]).status === 0 ? [] : ["gcc"])];
  if (missing.length > 0) {
    process.stderr.write(`tpm: skipped, missing: ${missing.join(", ")}\n`);
    return [];
  }
  const ends: (() => Promise<void>)[] = [];
  const lab = openTpmLab();
  try {
    const measured: [path: string, round: Round, rates: number[]][] = [];
    for (const path of paths.length > 0 ? paths : Object.keys(PATHS)) {
      const round = await STARTERS[path]?.(lab, (end) => ends.push(end));
      if (typeof round === "string") process.stderr.write(`tpm: '${path}' left out, missing: ${round}\n`);
      else if (round !== undefined) measured.push([path, round, []]);
    }
    for (let round = 0; round < rounds; round++) {
      for (const [, measure, rates] of measured) rates.push(await measure(seconds));
    }
    const rates = new Map(measured.map(([path, , rates]) => [path, rates]));
    return measured.flatMap(([path]) => rowsOfPath(path, rates));
  } finally {
    for (const end of ends.reverse()) await end();
    await lab.close();
  }
}

function rowsOfPath(path: string, rates: ReadonlyMap<string, readonly number[]>): BenchRow[] {
  const { what, claims = [] } = PATHS[path] ?? { what: path };
  const ours = rates.get(path) ?? [];
  const row = { bench: "tpm", what: `P-256 sign, ${what}`, median: median(ours), unit: "/s" } as const;
  const note = `rounds ${ours.map((rate) => rate.toFixed(0)).join(" ")}`;
  const beside = claims.flatMap(({ peer, target }): BenchRow[] => {
    const theirs = rates.get(peer);
    if (theirs === undefined) return [];
    // Neighbours in time shared the machine's mood.
    const ratio = median(ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN)));
    return [
      {
        ...row,
        beside: { what: PATHS[peer]?.what ?? peer, value: median(theirs) },
        ratio,
        within: target === undefined ? undefined : ratio >= target,
        note: target === undefined ? note : `target ${target}×; ${note}`,
      },
    ];
  });
  return beside.length > 0 ? beside : [{ ...row, note }];
}

const STARTERS: { readonly [path: string]: Starter } = {
  async c(lab) {
    const { tpm, command } = await keyed(lab);
    const program = join(lab.folder, "replay");
    const built = spawnSync("gcc", ["-O2", "-o", program, REPLAY], { encoding: "utf8" });
    if (built.status !== 0) throw new Error(built.stderr);
    const recorded = join(lab.folder, "command");
    writeFileSync(recorded, command);
    return async (seconds) => {
      const { status, stdout, stderr } = spawnSync(program, [tpm.socket, recorded, `${seconds}`], { encoding: "utf8" });
      if (status !== 0) throw new Error(`the replay ended: ${stderr}`);
      const result = JSON.parse(stdout) as { operations: number; seconds: number };
      return result.operations / result.seconds;
    };
  },

  async codec(lab) {
    const { tpm, key } = await keyed(lab);
    return async (seconds) => {
      const codec = openCodec(tpm);
      try {
        return signing(codec, key, "password", seconds);
      } finally {
        codec.close();
      }
    };
  },

  async salted(lab) {
    const { tpm, key, parent } = await keyed(lab);
    return async (seconds) => {
      const codec = openCodec(tpm);
      try {
        codec.salt(parent.entity, parent.area);
        return signing(codec, key, "session", seconds);
      } finally {
        codec.close();
      }
    };
  },

  root: (lab) => rootRound(lab, 1),
  keys: (lab) => rootRound(lab, 2),

  async product(lab, atEnd) {
    const product = await productOn(lab, atEnd);
    if (typeof product === "string") return product;
    return (seconds) => product.loop(1, seconds);
  },

  async product4(lab, atEnd) {
    const product = await productOn(lab, atEnd);
    if (typeof product === "string") return product;
    return (seconds) => product.loop(4, seconds);
  },

  async http(lab, atEnd) {
    const product = await productOn(lab, atEnd);
    if (typeof product === "string") return product;
    return async (seconds) => {
      const vault = await connect({ run: product.run });
      try {
        return await crowd(32, seconds, () => vault.call("sign", { key: "ec", data: DIGEST, digested: true }));
      } finally {
        await vault.close();
      }
    };
  },

  theirs: theirModule,
  tool: signTool,
};

interface Keyed {
  readonly tpm: SoftwareTpm;
  readonly parent: Parent;
  readonly key: Entity;
  /** The bytes of Sign with an empty password. */
  readonly command: Uint8Array;
}

/** A TPM with a signing key that everybody may use, and how it is asked. */
const keyed = shared(async (lab): Promise<Keyed> => {
  const tpm = await lab.tpm("keyed");
  let command = NOTHING;
  const codec = openCodec(tpm, (sent) => (command = sent.slice()));
  try {
    const parent = findParent(codec) ?? makeParent(codec);
    const template = KEYS.p256?.sign;
    if (template === undefined) throw new Error("no template");
    const { outPrivate, outPublic } = codec.run(
      Create,
      [parent.entity],
      {
        inSensitive: { userAuth: NOTHING, data: NOTHING },
        inPublic: template,
        outsideInfo: NOTHING,
        creationPCR: [],
      },
      ["password"],
    );
    const loading = { inPrivate: outPrivate, inPublic: outPublic };
    const { handle } = codec.run(Load, [parent.entity], loading, ["password"]);
    const owner = plainEntity(HANDLE.owner);
    codec.run(EvictControl, [owner, plainEntity(handle)], { persistent: PERSISTENT }, ["password"]);
    codec.flush(handle);
    const key = { handle: PERSISTENT, name: nameOf(outPublic), auth: NOTHING };
    signOnce(codec, key, "password");
    return { tpm, parent, key, command };
  } finally {
    codec.close();
  }
});

/** @param heard what is sent to the TPM */
function openCodec(tpm: SoftwareTpm, heard?: (command: Uint8Array) => void): Tpm {
  const open = (): TpmTransport => {
    const transport = openTransport(tpm.location);
    if (heard === undefined) return transport;
    return {
      close: transport.close,
      shared: transport.shared,
      transmit(command, longest) {
        heard(command);
        return transport.transmit(command, longest);
      },
    };
  };
  return tpmOver(open, systemClock({ spinMilliseconds: 0 }));
}

const SCHEME = { type: ALG.ecdsa, hash: ALG.sha256 };
const NO_TICKET = { tag: ST.hashcheck, hierarchy: HANDLE.null, digest: NOTHING };

function signOnce(codec: Tpm, key: Entity, by: Authorisation) {
  return codec.run(Sign, [key], { digest: DIGEST, scheme: SCHEME, validation: NO_TICKET }, [by]);
}

function signing(codec: Tpm, key: Entity, by: Authorisation, seconds: number): number {
  for (let n = 0; n < 200; n++) signOnce(codec, key, by); // nothing is compiled at first
  const began = performance.now();
  const end = began + seconds * 1000;
  let [count, now] = [0, began];
  for (; now < end; now = performance.now()) {
    signOnce(codec, key, by);
    count += 1;
  }
  return count / ((now - began) / 1000);
}

async function rootRound(lab: TpmLab, keys: number): Promise<Round> {
  const { tpm } = await keyed(lab);
  const folder = join(lab.folder, "roots");
  const handles: string[] = [];
  const first = await openTpmRoot(tpm.location, { folder });
  for (let n = 0; n < keys; n++) {
    handles.push((await first.generateKey({ algorithm: "p256", use: "sign", occupied: [] })).handle);
  }
  await first.close();
  return async (seconds) => {
    const root = await openTpmRoot(tpm.location, { folder });
    try {
      const sign = (n: number) => root.sign(handles[n % keys] ?? "", DIGEST);
      await crowd(IN_FLIGHT, 0.3, sign);
      return await crowd(IN_FLIGHT, seconds, sign);
    } finally {
      await root.close();
    }
  };
}

/** @returns how many a second, `size` at a time */
async function crowd(size: number, seconds: number, ask: (n: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  const end = began + seconds * 1000;
  let count = 0;
  const one = async () => {
    while (performance.now() < end) await ask(count++);
  };
  await Promise.all(Array.from({ length: size }, one));
  return count / ((performance.now() - began) / 1000);
}

/** Vault and gate on a TPM of their own, with one resident key. */
const productOn = shared(async (lab, atEnd) => {
  const module = clientModule();
  if (module === undefined) return "p11-kit-modules";
  const tpm = await lab.tpm("ours");
  const product = await openProduct(`tpm:unix:${tpm.socket}`);
  atEnd(() => product.close());
  await product.vault();
  await product.gate();
  const vault = await connect({ run: product.run });
  const policy = { allow: [{ who: "any", rights: ["use" as const] }] };
  await vault.keys.create({ name: "ec", type: "p256", protection: "resident", policy });
  await vault.close();
  const loop = loopIn(lab.folder);
  const env = { P11_KIT_SERVER_ADDRESS: `unix:path=${join(product.run, "pkcs11.sock")}` };
  return {
    run: product.run,
    async loop(threads: number, seconds: number) {
      const args = [module, "ec", "ec", `${threads}`, `${seconds}`];
      const result = await runLoop(loop, args, { env, pin: undefined });
      return result.operations / result.seconds;
    },
  };
});

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      json: { type: "boolean", default: false },
    },
  });
  const unknown = positionals.filter((path) => !Object.hasOwn(PATHS, path));
  if (unknown.length > 0) throw new Error(`no path ${unknown.join(", ")}; there are ${Object.keys(PATHS).join(", ")}`);
  const options = { rounds: Number(values.rounds), seconds: Number(values.seconds), paths: positionals };
  if (values.json) console.log(JSON.stringify(await rowsHere(options)));
  else for (const line of shown(await rowsOfTpm(options))) console.log(line);
}
